"""What a fit computes, and what it refuses to."""

from __future__ import annotations

import json

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from pellucid.core.config import build
from pellucid.core.errors import ConfigError, NumericsError
from pellucid.data import Batch, TensorData
from pellucid.dictionaries import make_dictionary
from pellucid.hosts import Host
from pellucid.hosts.splice import SharedPass
from pellucid.kernels.divergence import plain_kl
from pellucid.training import FitConfig, fit


def _lines(run, name):
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return [line for line in lines if line["dictionary"] == name]


def _header(run, name):
    return json.loads((run / "dictionaries" / name / "config.json").read_text())


def test_dictionaries_trained_in_one_pass_equal_those_trained_alone(fitted, small):
    together = fitted("together", steps=4)
    weights = small.weights(together)
    assert len(weights) == 3
    for name, config in small.dictionaries().items():
        alone = fitted(name.replace("+", "_"), steps=4, dictionaries={name: config})
        assert small.weights(alone) == {name: weights[name]}
        assert _lines(alone, name) == _lines(together, name)


def test_two_fits_give_the_same_bytes_and_another_seed_does_not(fitted, small):
    first, second = small.weights(fitted("first", steps=3)), small.weights(fitted("second", steps=3))
    assert first == second
    dictionaries = small.dictionaries()
    dictionaries["local"]["seed"] = 1
    other = small.weights(fitted("other", steps=3, dictionaries=dictionaries))
    assert other["local"] != first["local"] and other["e2e"] == first["e2e"]


def test_the_first_logged_losses_are_the_formulas_by_hand(fitted, small):
    run = fitted("run", steps=1)
    host, data = small.host(), small.Tokens()
    batch = data.train_batch(0, small.ROWS)
    with torch.no_grad():
        logits = host.module(**batch.inputs).logits
        sites = {name: host.site(config["site"]) for name, config in small.dictionaries().items()}
        values = host.run(batch.inputs, capture=[*sites.values(), *map(host.site, ("layers.1", "layers.2"))]).values
        config = small.config(steps=1)
        for name, site in sites.items():
            x = values[site][batch.keep]
            dictionary = _start(config.dictionaries[name], x)
            forward = dictionary(x)
            spliced = values[site].clone()
            spliced[batch.keep] = forward.reconstruction
            later = [host.site(f"layers.{i}") for i in (1, 2)]
            result = host.run(batch.inputs, edit={site: lambda _, spliced=spliced: spliced}, capture=later)
            kl = float(plain_kl(logits[batch.keep], host.logits(result.output)[batch.keep]).mean())
            wanted = {"local": {"mse": float((forward.reconstruction - x).square().mean())}, "e2e": {"kl": kl}}
            errors = [float((result.values[s][batch.keep] - values[s][batch.keep]).square().mean()) for s in later]
            wanted["e2e+ds"] = {"kl": 0.5 * kl, "downstream": 2.5 / 2 * sum(errors)}
            if name != "e2e":
                wanted[name]["sparsity"] = 0.5 / 32 * float(forward.codes.sum(-1).mean())
            wanted[name]["l0"] = float((forward.codes > 0).sum(-1).double().mean())
            (line,) = _lines(run, name)
            found = {key: line[key] for key in wanted[name]}
            assert_close(found, wanted[name], atol=1e-6, rtol=1e-4)
            assert line["loss"] == pytest.approx(sum(value for key, value in found.items() if key != "l0"), rel=1e-5)


def _start(config, sample):
    return make_dictionary(config.architecture, sample.shape[-1], torch.Generator().manual_seed(config.seed), sample)


def test_the_host_is_unchanged(fitted, small):
    host = small.host()
    host.module.train()
    before = {name: value.clone() for name, value in host.module.state_dict().items()}
    fitted(host=host)
    after = host.module.state_dict()
    assert all(torch.equal(after[name], value) for name, value in before.items())
    assert all(p.grad is None and p.requires_grad for p in host.module.parameters()) and host.module.training
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in host.module.modules())


class Masked(TensorData):
    """Vectors whose last position in each row is excluded."""

    def train_rows(self, indices):
        batch = super().train_rows(indices)
        keep = torch.ones(batch.inputs.shape[:2], dtype=torch.bool)
        keep[:, -1] = False
        return Batch(batch.inputs, keep, batch.labels)


class Stack(nn.Module):
    """A residual stack whose positions do not see each other."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.blocks = nn.ModuleList(nn.Sequential(nn.Linear(8, 8), nn.Tanh()) for _ in range(4))
        self.head = nn.Linear(8, 5)

    def forward(self, x):
        for block in self.blocks:
            x = block(x)
        return self.head(x)


def test_excluded_positions_have_no_influence(small, tmp_path):
    rows = torch.randn(30, 6, 8, generator=torch.Generator().manual_seed(0))
    other = rows.clone()
    other[:, -1] = 100.0
    relu = {"kind": "relu", "n_latents": 16}
    names = ("local", "e2e", "e2e+ds")
    dictionaries = {name: {"site": "layers.1", "architecture": relu, "objective": {"kind": name}} for name in names}
    config = small.config(dictionaries=dictionaries, steps=4)
    runs = [fit(config, tmp_path / name, host=Host(Stack()), data=Masked(data)) for name, data in (("a", rows), ("b", other))]
    assert small.weights(runs[0]) == small.weights(runs[1])
    assert (runs[0] / "metrics.jsonl").read_bytes() == (runs[1] / "metrics.jsonl").read_bytes()
    unmasked = fit(config, tmp_path / "c", host=Host(Stack()), data=TensorData(rows))
    assert small.weights(unmasked) != small.weights(runs[0]), "the last position would have counted"


def test_excluded_positions_pass_a_splice_unchanged(small):
    host, batch = small.host(), small.Tokens().train_batch(0, 3)
    site = host.site("layers.1")
    host.prepare(batch.inputs, [site])
    shared = SharedPass(host, batch.inputs, batch.keep, splice=[site])
    seen = []
    host.module.model.layers[2].register_forward_pre_hook(lambda _, args: seen.append(args[0].clone()))
    with torch.no_grad():
        shared.splice(site, lambda rows: torch.zeros_like(rows))
        whole = host.run(batch.inputs, capture=[site]).values[site]
    assert torch.equal(seen[0][~batch.keep], whole[~batch.keep]) and not bool(seen[0][batch.keep].any())


def test_positions_and_excluded_ones_count_as_tokens(fitted, small):
    run = fitted("run", steps=3)
    assert [line["tokens"] for line in _lines(run, "local")] == [48, 96, 144]
    assert _header(run, "local")["tokens"] == 3 * small.ROWS * small.CONTEXT


def test_warm_start_tokens_are_counted_along_the_chain(fitted, small):
    first = fitted("first", steps=3)
    dictionaries = small.dictionaries()
    folder = str(first / "dictionaries" / "local")
    second_config = {"e2e": {**dictionaries["local"], "objective": {"kind": "e2e"}, "init_from": folder}}
    second = fitted("second", steps=2, dictionaries=second_config)
    third_config = {"again": {**dictionaries["local"], "init_from": str(second / "dictionaries" / "e2e")}}
    third = fitted("third", steps=1, dictionaries=third_config)
    headers = [_header(first, "local"), _header(second, "e2e"), _header(third, "again")]
    assert [header["tokens"] for header in headers] == [144, 96, 48]
    assert [header["provenance"]["warm_start_tokens"] for header in headers] == [0, 144, 240]
    assert headers[1]["provenance"]["init_from"] == folder


def test_a_warm_start_begins_at_the_other_dictionary(fitted, small):
    first = fitted("first", steps=3)
    folder = first / "dictionaries" / "local"
    # 0 is the learning rate of the first step of a warm-up, so one step moves nothing
    second = fitted(
        "second", steps=1, warmup=0.9, dictionaries={"local": {**small.dictionaries()["local"], "init_from": str(folder)}}
    )
    assert small.weights(second)["local"] == small.weights(first)["local"]


def test_a_warm_start_of_another_shape_or_width_is_refused(fitted, small):
    first = fitted("first", steps=1)
    folder = str(first / "dictionaries" / "local")
    config = {**small.dictionaries()["local"], "init_from": folder}
    with pytest.raises(ConfigError, match=r"'x' wants .* with 41 latents, but init_from .* holds relu with 40"):
        fitted("shape", dictionaries={"x": {**config, "architecture": {"kind": "relu", "n_latents": 41}}})
    with pytest.raises(ConfigError) as caught:
        fitted("width", dictionaries={"x": {**config, "site": "layers.1.mlp.hidden"}})
    message = str(caught.value)
    assert "site 'layers.1.mlp.hidden' gives tensors of width 48" in message and "trained on width 32" in message
    fitting = message.split("Sites of this host with width 32: ")[1]
    assert "layers.0" in fitting and "hidden" not in fitting


@pytest.mark.parametrize("objective", ["local", "e2e"])
def test_an_activation_that_is_not_finite_is_named(small, tmp_path, objective):
    rows = torch.randn(20, 6, 8, generator=torch.Generator().manual_seed(0))
    data = Masked(rows, held_out=0.0)
    host = Host(Stack(), name="stack")
    place = int(data.train_indices(2, 4)[3])
    first = data.train_rows(torch.tensor([place])).inputs[0, 4, 0]

    def poisoned(_, args):
        hit = (args[0][..., 0] == first).unsqueeze(-1)
        return (torch.where(hit, float("inf"), args[0]),)

    host.module.blocks[0][0].register_forward_pre_hook(poisoned)
    dictionary = {"site": "layers.1", "architecture": {"kind": "relu", "n_latents": 16}, "objective": {"kind": objective}}
    config = small.config(steps=5, sample_rows=1, log_every=1, dictionaries={"x": dictionary})
    with pytest.raises(
        NumericsError, match=r"site 'layers\.1' are not finite at step 2, row 3, position 4 .*1 of 20 positions.*dtype"
    ):
        fit(config, tmp_path / "run", host=host, data=data)
    assert len((tmp_path / "run" / "metrics.jsonl").read_text().splitlines()) == 2


def test_a_loss_that_is_not_finite_is_named_with_its_terms(fitted, small):
    dictionaries = {"wild": {**small.dictionaries()["local"], "lr": 1e30}}
    with pytest.raises(
        NumericsError, match=r"dictionary 'wild' at site 'layers\.1' is not finite at step \d: .*'mse': .*Lower lr \(1e\+30\)"
    ):
        fitted(dictionaries=dictionaries, warmup=0.0)


def test_an_unknown_key_is_refused_with_the_nearest():
    with pytest.raises(ConfigError) as caught:
        build(
            FitConfig, {"dictionaries": {"a": {"site": "layers.1", "objectiv": {"kind": "e2e"}}}, "batch_row": 3, "tokens": 0}
        )
    message = str(caught.value)
    assert "unknown key 'dictionaries.a.objectiv'. Did you mean 'objective'" in message
    assert "unknown key 'batch_row'. Did you mean 'batch_rows'" in message
    assert "'tokens': Input should be greater than or equal to 1 (found 0)" in message


@pytest.mark.parametrize(
    ("architecture", "message"),
    [
        ({"kind": "topk", "n_latents": 16, "k": 17}, r"k = 17 latents per token cannot come from n_latents = 16"),
        ({"kind": "relu", "l1": -1.0}, r"greater than or equal to 0 \(found -1\.0\)"),
        ({"kind": "relo"}, r"unknown architecture 'relo'\. Did you mean 'relu'"),
    ],
)
def test_an_impossible_architecture_is_refused_before_any_work(architecture, message):
    with pytest.raises(ConfigError, match=message):
        build(FitConfig, {"dictionaries": {"a": {"site": "layers.1", "architecture": architecture}}})


@pytest.mark.parametrize("name", ["", "..", "a/b"])
def test_a_name_that_is_no_folder_name_is_refused(name):
    with pytest.raises(ConfigError, match="cannot be folder names"):
        build(FitConfig, {"dictionaries": {name: {"site": "layers.1"}}})


def test_downstream_errors_need_a_later_block(fitted, small):
    dictionaries = {"last": {**small.dictionaries()["e2e+ds"], "site": "layers.3"}}
    with pytest.raises(
        ConfigError, match=r"'last': objective 'e2e\+ds' at site 'layers\.3' has no later block input .*earlier site.*'e2e'"
    ):
        fitted(dictionaries=dictionaries)


def test_all_bad_dictionaries_are_reported_at_once_and_nothing_is_written(fitted, small, tmp_path):
    relu = small.dictionaries()["local"]
    dictionaries = {
        "good": relu,
        "typo": {**relu, "site": "layer.1"},
        "last": {**small.dictionaries()["e2e+ds"], "site": "layers.3"},
        "beyond": {**relu, "site": "layers.99"},
    }
    with pytest.raises(ConfigError) as caught:
        fitted("run", dictionaries=dictionaries)
    message = str(caught.value)
    assert all(f"'{name}'" in message for name in ("typo", "last", "beyond")) and "'good'" not in message
    assert "Did you mean" in message
    assert [path.name for path in (tmp_path / "run").iterdir()] == [".lock"]
