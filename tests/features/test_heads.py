from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from pellucid.core.errors import ConfigError, SiteError
from pellucid.dictionaries import CodebookConfig, TopKConfig, make_dictionary
from pellucid.features.heads import head_attributions, head_shares, n_heads_at
from pellucid.hosts import Host

ROWS = torch.randn(30, 12, generator=torch.Generator().manual_seed(0))


def test_shares_and_attributions_equal_naive_loops():
    dictionary = make_dictionary(TopKConfig(n_latents=8, k=2), 12, torch.Generator().manual_seed(0), ROWS)
    shares, found = head_shares(dictionary, 3), head_attributions(dictionary, ROWS, 3, [5, 1])
    decoder, encoder, centre = (p.detach() for p in (dictionary.decoder, dictionary.encoder, dictionary.decoder_bias))
    for i in range(8):
        norms = [float(decoder[i, 4 * h : 4 * h + 4].norm()) for h in range(3)]
        assert_close(shares[i], torch.tensor(norms) / sum(norms))
    for place, i in enumerate((5, 1)):
        for h in range(3):
            part = slice(4 * h, 4 * h + 4)
            wanted = [float(encoder[i, part] @ (row - centre)[part]) for row in ROWS]
            assert_close(found[:, place, h], torch.tensor(wanted), rtol=1e-5, atol=1e-5)


def test_an_atom_of_zeros_belongs_to_all_heads_alike():
    dictionary = make_dictionary(TopKConfig(n_latents=8, k=2), 12, torch.Generator().manual_seed(0), ROWS)
    with torch.no_grad():
        dictionary.decoder[3] = 0
    assert_close(head_shares(dictionary, 3)[3], torch.full((3,), 1 / 3))


def test_refusals():
    dictionary = make_dictionary(TopKConfig(n_latents=8, k=2), 12, torch.Generator().manual_seed(0), ROWS)
    with pytest.raises(ConfigError, match="rows of width 12 are not 5 heads of one width"):
        head_shares(dictionary, 5)
    codebook = make_dictionary(CodebookConfig(n_latents=8, k=2), 12, torch.Generator().manual_seed(0), ROWS)
    with pytest.raises(ConfigError, match="codebook dictionary are no sum over heads"):
        head_attributions(codebook, ROWS, 3)
    host = Host(nn.Sequential(nn.Linear(4, 4), nn.ReLU()), name="net")
    with pytest.raises(SiteError, match="says how many heads it has"):
        n_heads_at(host, host.site("0"))
