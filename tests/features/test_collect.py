from __future__ import annotations

import json

import pytest
import torch

from pellucid.core.errors import RunError
from pellucid.data import TensorData
from pellucid.dictionaries import TopKConfig, make_dictionary, save_dictionary
from pellucid.features import collect_features, sample_latents, write_features
from pellucid.features.codes import count_firings


def test_features_hold_what_their_parts_say(run, llama_host, data, dictionaries):
    found = collect_features(run, llama_host, data, n_features=5, batch_rows=4)
    counters = count_firings(llama_host, data, dictionaries, rows=None, batch_rows=4)
    assert list(found) == ["relu", "topk"]
    for name, features in found.items():
        assert [f["latent"] for f in features] == sample_latents(counters[name].firings, 5)
        densities = [f["density"] for f in features]
        assert densities == sorted(densities, reverse=True) and min(densities) > 0
        for feature in features:
            density = float(counters[name].density()[feature["latent"]])
            assert feature["density"] == pytest.approx(density, rel=1e-5)
            peaks = [example["activations"][example["peak"]] for example in feature["examples"]]
            assert feature["max"] == peaks[0] == max(peaks) > 0
            assert len(feature["raises"]) == len(feature["lowers"]) == 8
            assert "no_effects" not in feature


def test_the_file_is_the_same_every_time_and_the_report_reads_it(run, llama_host, data):
    from pellucid.web.features_view import read_features

    path = write_features(run, llama_host, data, n_features=4)
    first = path.read_bytes()
    write_features(run, llama_host, data, n_features=4)
    assert path == run / "features.json" and path.read_bytes() == first
    assert json.loads(first) == collect_features(run, llama_host, data, n_features=4)
    assert {name: sample.total for name, sample in read_features(run).items()} == {"relu": 4, "topk": 4}


def test_hidden_sites_say_why_they_have_no_effects(tmp_path, llama_host, data):
    dictionary = make_dictionary(TopKConfig(n_latents=16, k=2, bias_init="zeros"), 64, torch.Generator().manual_seed(0))
    site = llama_host.site("layers.1.mlp.hidden")
    host = {"name": "llama", "weights_sha256": llama_host.weights_digest(site)}
    header = {"name": "h", "site": str(site), "objective": {"kind": "local"}, "host": host, "tokens": 0}
    save_dictionary(tmp_path / "dictionaries" / "h", dictionary, header)
    for feature in collect_features(tmp_path, llama_host, data, n_features=3)["h"]:
        assert feature["raises"] == feature["lowers"] == [] and feature["examples"]
        assert "has width 64" in feature["no_effects"]


def test_data_that_is_no_text_has_no_features(run, llama_host):
    data = TensorData({"input_ids": torch.zeros(4, 6, dtype=torch.int64)}, held_out=0.5)
    assert collect_features(run, llama_host, data) == {}
    assert json.loads(write_features(run, llama_host, data).read_text()) == {}


def test_a_run_without_dictionaries_is_refused(tmp_path, llama_host, data):
    with pytest.raises(RunError, match="holds no finished dictionary"):
        collect_features(tmp_path, llama_host, data)
