from __future__ import annotations

import pytest
import torch

from pellucid.core.errors import SiteError
from pellucid.hosts.weights import site_weights


def test_the_matrix_that_writes_or_reads_a_site(llama_host):
    block = llama_host.module.model.layers[1]
    attention, mlp = block.self_attn, block.mlp
    wanted = {
        "layers.1": mlp.down_proj.weight,
        "layers.1.mlp": mlp.down_proj.weight,
        "layers.1.mlp.input": mlp.gate_proj.weight.T,
        "layers.1.mlp.hidden": mlp.down_proj.weight.T,
        "layers.1.attn": attention.o_proj.weight,
        "layers.1.attn.z": attention.o_proj.weight.T,
        "embed": llama_host.module.model.embed_tokens.weight.T,
    }
    for name, matrix in wanted.items():
        found = site_weights(llama_host, llama_host.site(name), matrix.shape[0])
        assert torch.equal(found, matrix) and not found.requires_grad, name


def test_a_site_that_no_linear_map_writes_is_refused(llama_host):
    with pytest.raises(SiteError, match=r"no linear map in module 'model.norm' of llama writes the 32 dimensions"):
        site_weights(llama_host, llama_host.site("norm"), 32)
