"""What dictionaries that select by the gradient of the loss ask of a fit."""

from __future__ import annotations

import pytest
from torch.testing import assert_close

from pellucid.core.config import build
from pellucid.core.errors import ConfigError
from pellucid.dictionaries import load_dictionary
from pellucid.training import FitConfig, fit


def test_refusals(small, tmp_path):
    entry = {"site": "hidden", "architecture": {"kind": "gradient", "n_latents": 20, "k": 3}}
    with pytest.raises(ConfigError, match=r"dictionaries \['a'\] select by the gradient of mlp's loss.*no labels"):
        fit(small.config(dictionaries={"a": entry}), tmp_path / "run", host=small.mlp(), data=small.vectors())
    store = {"folder": "s", "shuffle_rows": 8}
    with pytest.raises(ConfigError, match=r"dictionaries \['a'\] are trained end to end or by the loss, on whole rows"):
        build(FitConfig, {"dictionaries": {"a": entry}, "store": store})


def test_from_a_store_it_learns_the_same(small, tmp_path):
    entry = {"a": {"site": "layers.1", "architecture": {"kind": "gradient", "n_latents": 20, "k": 3}}}
    runs = {}
    for name, store in (("plain", {}), ("stored", {"folder": str(tmp_path / "store")})):
        config = small.config(steps=3, dictionaries=entry, store=store, checkpoint_seconds=1e6)
        runs[name] = fit(config, tmp_path / name, host=small.host(), data=small.Tokens())
    a, b = (load_dictionary(run / "dictionaries" / "a")[0].state_dict() for run in runs.values())
    assert_close(a, b, rtol=1e-5, atol=1e-7)
