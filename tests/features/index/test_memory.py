"""What an index says beforehand that it may hold, and what it then holds."""

from __future__ import annotations

import logging
import re
import sys
from pathlib import Path

import pytest
import torch
from tests.features.conftest import CONTEXT, ROWS
from tests.features.index.conftest import SAMPLE

from pellucid.dictionaries import TopKConfig, make_dictionary, save_dictionary
from pellucid.features.index import IndexConfig, build_index, memory, tables
from pellucid.features.index.text import IndexedText

MANY = 8192
"""Latents; their products with one another would take 268 MB."""


def held(most: str) -> int:
    """Bytes resident now (VmRSS) or at most (VmHWM)."""
    return int(re.search(rf"{most}:\s+(\d+)", Path("/proc/self/status").read_text())[1]) * 1024


@pytest.mark.skipif(sys.platform != "linux", reason="the most a process held is read from Linux's /proc")
def test_many_latents_take_no_more_than_was_said(tiny, tmp_path, caplog):
    """After `tiny`, so that what is loaded once is there already."""
    site = tiny.host.site("layers.1")
    dictionary = make_dictionary(TopKConfig(n_latents=MANY, k=8), 32, torch.Generator().manual_seed(0), SAMPLE)
    header = {"name": "many", "site": str(site), "objective": {"kind": "local"}, "tokens": 0}
    host = {"name": "llama", "weights_sha256": tiny.host.weights_digest(site)}
    save_dictionary(tmp_path / "dictionaries" / "many", dictionary, {**header, "host": host})
    said = memory.estimate(tiny.host, IndexedText(tiny.data, IndexConfig()), {"many": (dictionary, site)}, 8)
    bound = max(said["pass"], said["tables"])
    assert bound < 4 * MANY**2
    Path("/proc/self/clear_refs").write_text("5")
    before = held("VmRSS")
    with caplog.at_level(logging.INFO, logger="pellucid"):
        index = build_index(tmp_path, tiny.host, tiny.data)
    assert held("VmHWM") - before < bound
    assert "memory: at most about" in caplog.text
    firings = index.latents("many", ["firings"])["firings"].to_pylist()
    assert len(firings) == MANY and sum(firings) > ROWS * CONTEXT


def test_a_latent_that_fires_everywhere_counts_as_one_block(tiny, monkeypatch):
    monkeypatch.setattr(memory, "BLOCK_ENTRIES", 10)
    text = IndexedText(tiny.data, IndexConfig())
    assert text.rows * text.context > 10
    block = memory.SORTED * text.rows * text.context
    with_dense = memory.estimate(tiny.host, text, tiny.dictionaries, 8)["tables"]
    monkeypatch.setattr(memory, "SORTED", 0)
    assert with_dense - memory.estimate(tiny.host, text, tiny.dictionaries, 8)["tables"] == block
    assert list(tables.blocks(torch.tensor([1, tables.BLOCK_ENTRIES + 5, 2]).numpy())) == [(0, 1), (1, 2), (2, 3)]
