"""Dictionaries on concatenated heads before the output projection."""

from __future__ import annotations

import pytest
import torch
from torch.testing import assert_close

from pellucid.dictionaries import GatedConfig, ReluConfig, TopKConfig, make_dictionary
from pellucid.features.heads import head_attributions, head_shares, n_heads_at

CONFIGS = [TopKConfig(n_latents=48, k=4), ReluConfig(n_latents=48), GatedConfig(n_latents=48)]


@pytest.fixture
def heads(llama_host, token_inputs):
    """Values of layers.1.attn.z and how many heads they hold."""
    site = llama_host.site("layers.1.attn.z")
    with torch.no_grad():
        rows = llama_host.run(token_inputs, capture=[site], stop=True).values[site].reshape(-1, 32)
    return 100 * rows, n_heads_at(llama_host, site)


@pytest.mark.parametrize("config", CONFIGS, ids=lambda config: config.kind)
def test_dictionaries_17_1_head_shares_sum_to_one(heads, config):
    rows, n_heads = heads
    shares = head_shares(make_dictionary(config, 32, torch.Generator().manual_seed(0), rows), n_heads)
    assert n_heads == 2 and shares.shape == (48, 2) and (shares >= 0).all()
    assert_close(shares.sum(dim=1), torch.ones(48))


@pytest.mark.parametrize("config", CONFIGS, ids=lambda config: config.kind)
def test_dictionaries_17_1_attributions_sum_to_the_preactivation_without_bias(heads, config):
    rows, n_heads = heads
    dictionary = make_dictionary(config, 32, torch.Generator().manual_seed(0), rows)
    with torch.no_grad():
        dictionary.encoder_bias.normal_(generator=torch.Generator().manual_seed(1))
        dictionary.decoder_bias.normal_(generator=torch.Generator().manual_seed(2))
        wanted = dictionary.preactivations(rows) - dictionary.encoder_bias
    assert_close(head_attributions(dictionary, rows, n_heads).sum(dim=-1), wanted, rtol=1e-5, atol=1e-5)
