"""One index of a tiny run, and the dense codes that all of it can be counted again from."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import pytest
import torch
from tests.conftest import tiny_llama
from tests.features.conftest import CONTEXT, ROWS, VOCABULARY, token_data

from pellucid.data import Batch, TokenData
from pellucid.dictionaries import Dictionary, ReluConfig, TopKConfig, make_dictionary, save_dictionary
from pellucid.features.index import Index, IndexConfig, ablation, build_index, tables
from pellucid.hosts import Host, Site

CONFIG = IndexConfig(batch_rows=3, top=4, per_decile=2, before=4, after=2, effect_rows=ROWS, effect_positions=CONTEXT)
"""Ablations are measured on every row and position on which a latent fires."""
SAMPLE = torch.randn(64, 32, generator=torch.Generator().manual_seed(1)) * 0.01


@dataclass
class Tiny:
    """A run folder with two dictionaries, and what they were made from."""

    run: Path
    host: Host
    data: TokenData
    dictionaries: dict[str, tuple[Dictionary, Site]]
    index: Index | None = None
    codes: dict[str, torch.Tensor] = field(default_factory=dict)
    """Codes [row, position, latent] of plain runs over all held-out rows; 0 where excluded."""

    @property
    def batch(self) -> Batch:
        """All held-out rows."""
        return self.data.held_out_rows(torch.arange(ROWS))


def make_tiny(run: Path) -> Tiny:
    """The same at every call."""
    host = Host(tiny_llama(), name="llama")
    rows = torch.randint(2, VOCABULARY - 2, (ROWS, CONTEXT), generator=torch.Generator().manual_seed(3))
    rows[::3, 5] = 1
    made = {"relu": (ReluConfig(n_latents=24), "layers.3.input"), "topk": (TopKConfig(n_latents=40, k=3), "layers.1")}
    dictionaries = {}
    for name, (config, place) in made.items():
        site = host.site(place)
        dictionary = make_dictionary(config, 32, torch.Generator().manual_seed(7), SAMPLE)
        if name == "relu":
            dictionary.encoder_bias.data[:2] = torch.tensor([-9.0, 9.0])  # one never fires, one always does
            dictionary.decoder.data += SAMPLE[:24] * 20  # orthogonal atoms have no order of nearness
        header = {"name": name, "site": str(site), "objective": {"kind": "local"}, "tokens": 0}
        host_record = {"name": "llama", "weights_sha256": host.weights_digest(site)}
        save_dictionary(run / "dictionaries" / name, dictionary, {**header, "host": host_record})
        dictionaries[name] = (dictionary.eval(), site)
    return Tiny(run, host, token_data(rows), dictionaries)


@pytest.fixture
def fresh(tmp_path) -> Tiny:
    """A run without index."""
    return make_tiny(tmp_path / "run")


@pytest.fixture(scope="session")
def tiny(tmp_path_factory) -> Tiny:
    """An indexed run, to look at only."""
    made = make_tiny(tmp_path_factory.mktemp("index") / "run")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ablation, "ROUNDS", 64)
        patch.setattr(tables, "BLOCK_LATENTS", 7)
        made.index = build_index(made.run, made.host, made.data, CONFIG.model_copy(update={"effect_share": 1000.0}))
    for name, (dictionary, site) in made.dictionaries.items():
        with torch.no_grad():
            value = made.host.run(made.batch.inputs, capture=[site]).values[site]
            codes = dictionary.encode(value.flatten(0, 1)).unflatten(0, value.shape[:2])
        made.codes[name] = codes * made.batch.keep.unsqueeze(-1)
    return made
