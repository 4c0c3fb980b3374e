"""A fit gives the same numbers with every form of the kernels, and a resume keeps the form."""

from __future__ import annotations

import json
import logging

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from pellucid.core.errors import ConfigError
from pellucid.core.files import read_json, write_json
from pellucid.data import TensorData
from pellucid.hosts import Host
from pellucid.training import FitConfig, fit, kernels
from pellucid.training.learner import Learner

D, M = 16, 256
KINDS = {
    "topk": {"n_latents": M, "k": 4},
    "batch_topk": {"n_latents": M, "k": 4},
    "jumprelu": {"n_latents": M, "threshold_init": 0.3, "bandwidth": 0.1},
    "relu": {"n_latents": M, "l1": 3.0, "bias_init": "mean", "tied_init": True},
}


def host_and_data():
    generator = torch.Generator().manual_seed(0)
    atoms = nn.functional.normalize(torch.randn(M, D, generator=generator), dim=-1)
    active = (torch.rand(4096, M, generator=generator) < 3 / M) * (0.5 + torch.rand(4096, M, generator=generator))
    module = nn.Sequential(nn.Linear(D, D), nn.Tanh())
    with torch.no_grad():
        module[0].weight.copy_(torch.eye(D))
        module[0].bias.zero_()
    return Host(module), TensorData(active @ atoms, seed=0)


def run(folder, form, steps=200, **fields):
    host, data = host_and_data()
    dictionaries = {kind: {"site": "0", "architecture": {"kind": kind, **values}, "lr": 1e-2} for kind, values in KINDS.items()}
    values = {"dictionaries": dictionaries, "tokens": steps * 64, "batch_rows": 64, "log_every": 1, "kernels": form, **fields}
    return fit(FitConfig.model_validate(values), folder, host=host, data=data)


def losses(folder):
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return {kind: torch.tensor([line["loss"] for line in lines if line["dictionary"] == kind]) for kind in KINDS}


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    return losses(run(tmp_path_factory.mktemp("plain") / "run", "plain"))


@pytest.mark.parametrize("form", ["stock", "numba"])
def test_losses_over_200_steps_agree_to_a_ten_thousandth(tmp_path, plain, form, monkeypatch):
    sparse_passes = []
    count = Learner._count
    monkeypatch.setattr(
        Learner, "_count", lambda self, f: (sparse_passes.append((self.name, f.entries is not None)), count(self, f))[1]
    )
    found = losses(run(tmp_path / "run", form))
    for kind in KINDS:
        assert len(plain[kind]) == 200
        assert_close(found[kind], plain[kind], rtol=1e-4, atol=0, msg=lambda text, kind=kind: f"{kind}: {text}")
        assert sum(sparse for name, sparse in sparse_passes if name == kind) > 100, f"{kind} was hardly ever sparse"


def test_small_fits_use_the_plain_form_and_say_so_in_the_provenance(tmp_path):
    assert read_json(run(tmp_path / "run", "auto", steps=2) / "provenance.json")["kernels"] == dict.fromkeys(KINDS, "plain")


def test_the_fastest_form_is_measured_once_a_shape_and_said_once(tmp_path, monkeypatch, caplog):
    times = {"plain": 3.0, "stock": 2.0, "numba": 1.0}
    asked = []

    def seconds(forms, m, d, k, *, rows, device):
        assert forms["plain"] is None and all(forms[name] is not None for name in ("stock", "numba"))
        asked.append((m, k))
        return {name: times[name] for name in forms}

    monkeypatch.setattr(kernels, "SMALL", 1)
    monkeypatch.setattr(kernels, "seconds", seconds)
    with caplog.at_level(logging.INFO, logger="pellucid"):
        folder = run(tmp_path / "run", "auto", steps=2)
    assert read_json(folder / "provenance.json")["kernels"] == dict.fromkeys(KINDS, "numba")
    assert sorted(asked) == [(M, 4), (M, kernels.ACTIVE)]
    said = [record.message for record in caplog.records if record.message.startswith("kernels:")]
    assert said == [
        f"kernels: numba for {M} latents of width {D}, about {k} active (plain 3000 ms, stock 2000 ms, numba 1000 ms)"
        for k in (4, 32)
    ]


def test_a_resume_goes_on_with_the_kernels_it_began_with(tmp_path, monkeypatch):
    monkeypatch.setattr(kernels, "SMALL", 1)
    monkeypatch.setattr(kernels, "_fastest", lambda *_: "plain")
    folder = tmp_path / "run"
    stopped = Learner.update
    monkeypatch.setattr(Learner, "update", lambda self, *given: stopped(self, *given) if given[3] < 3 else 1 / 0)
    with pytest.raises(ZeroDivisionError):
        run(folder, "auto", steps=6, checkpoint_seconds=0)
    record = read_json(folder / "provenance.json")
    write_json(folder / "provenance.json", {**record, "kernels": dict.fromkeys(KINDS, "stock")})
    monkeypatch.setattr(Learner, "update", stopped)
    run(folder, "auto", steps=6, checkpoint_seconds=0)
    assert read_json(folder / "provenance.json")["kernels"] == dict.fromkeys(KINDS, "stock")


def test_a_form_that_cannot_be_used_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(kernels, "usable", lambda *_: ["plain", "stock"])
    with pytest.raises(ConfigError, match=r"kernels 'numba' cannot be used for torch\.float32 on cpu\. Usable: plain, stock"):
        run(tmp_path / "run", "numba", steps=1)
