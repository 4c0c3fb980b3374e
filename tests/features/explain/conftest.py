"""A run of a tiny host, indexed, to explain."""

from __future__ import annotations

import pytest
import torch
from tests.features.explain.planted import make_tiny

from pellucid.dictionaries import TopKConfig, make_dictionary, save_dictionary
from pellucid.features.index import IndexConfig, build_index


@pytest.fixture(scope="module")
def tiny():
    return make_tiny()


@pytest.fixture(scope="module")
def indexed(tmp_path_factory, tiny):
    """An indexed run folder; tests copy it."""
    host, data = tiny
    run = tmp_path_factory.mktemp("indexed")
    site = host.site("layers.0")
    dictionary = make_dictionary(TopKConfig(n_latents=24, k=4, bias_init="zeros"), 32, torch.Generator().manual_seed(7))
    about = {"name": "llama", "weights_sha256": host.weights_digest(site)}
    header = {"name": "d", "site": str(site), "objective": {"kind": "local"}, "host": about, "tokens": 0}
    save_dictionary(run / "dictionaries" / "d", dictionary, header)
    build_index(run, host, data, IndexConfig(batch_rows=20, effect_share=0.0))
    return run
