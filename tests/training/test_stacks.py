"""Dictionaries updated as one stacked problem: the updates are those of each by itself, and a fit says and keeps which."""

from __future__ import annotations

import json

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from pellucid import DictionaryConfig, FitConfig, Host, TopKConfig
from pellucid.core.config import build
from pellucid.core.errors import NumericsError
from pellucid.dictionaries import make_dictionary
from pellucid.hosts.splice import SharedPass
from pellucid.kernels.forms import get_form
from pellucid.training import fit, stacked, stacking
from pellucid.training.learner import Learner
from pellucid.training.stacked import Stack, alike
from pellucid.training.stacking import make_stacks

SITES = ("0", "1")
NAMES = ("encoder", "encoder_bias", "decoder", "decoder_bias")


def _learners(count=3, width=12, latents=40, k=4, form="numba", clip=10.0, dead_after=2**40, **changes):
    """Learners of one shape: other seeds, in turn at two sites."""
    host = Host(nn.Sequential(nn.Identity(), nn.Identity()), name="none")
    learners = []
    for seed in range(count):
        values = {"site": SITES[seed % 2], "architecture": TopKConfig(n_latents=latents, k=k), "lr": 3e-3, "seed": seed}
        config = build(DictionaryConfig, values | changes)
        fit_config = FitConfig(dictionaries={"d": config}, clip=clip, dead_after=dead_after)
        sample = torch.randn(50, width, generator=torch.Generator().manual_seed(99))
        dictionary = make_dictionary(config.architecture, width, torch.Generator().manual_seed(seed), sample)
        learners.append(Learner(f"d{seed}", config, fit_config, host, dictionary.train()))
        dictionary.form = get_form(form)
    return learners


class _Batch(SharedPass):
    """A pass whose two sites have different rows."""

    def __init__(self, values):
        self.values, self.keep = values, None

    def rows(self, site):
        return self.values[str(site)]


def _batch(step, width=12, rows=30, scale=1.0):
    g = torch.Generator().manual_seed(1000 + step)
    return _Batch({site: scale * torch.randn(rows, width, generator=g) for site in SITES})


def _parameters(learners):
    return [getattr(learner.dictionary, name).detach().clone() for learner in learners for name in NAMES]


@pytest.mark.parametrize(
    "form, clip, steps", [("plain", 10.0, 200), ("plain", 0.02, 30), ("numba", 10.0, 30), ("numba", 0.02, 30)]
)
def test_stacked_updates_are_those_of_each_dictionary_by_itself(form, clip, steps):
    apart, together = _learners(form=form, clip=clip), _learners(clip=clip)
    start = _parameters(apart)
    stack = Stack(together)
    for step in range(steps):
        rate = 3e-3 * (1 - step / steps)
        one = {learner.name: learner.update(_batch(step), None, rate, step) for learner in apart}
        other = stack.update(_batch(step), rate, step)
        assert one.keys() == other.keys()
        for name, line in one.items():
            assert list(other[name]) == list(line)
            assert other[name] == pytest.approx(line, rel=1e-4)
    assert all(line["grad_norm"] > clip for line in one.values()) == (clip < 1)
    for begun, mine, theirs in zip(start, _parameters(apart), _parameters(together), strict=True):
        assert not torch.equal(begun, mine)
        assert_close(theirs, mine, rtol=1e-4, atol=1e-5)
    for mine, theirs in zip(apart, together, strict=True):
        assert torch.equal(mine.counter.since, theirs.counter.since)
        assert torch.equal(mine.counter.firings, theirs.counter.firings)
        assert mine.counter.tokens == theirs.counter.tokens == steps * 30


@pytest.mark.parametrize("chunk", [30, 7])
def test_gradients_of_a_step_are_those_of_autograd_on_dense_codes(monkeypatch, chunk):
    learners = _learners(form="plain")
    stack, batch = Stack(learners), _batch(0)
    monkeypatch.setattr(stacked, "CHUNK_NUMBERS", 2 * 3 * 40 * chunk)
    assert stack.chunk == chunk
    with torch.no_grad():
        stack._gradients(torch.stack([batch.rows(learner.site) for learner in learners]))
    for number, learner in enumerate(learners):
        dictionary, x = learner.dictionary, batch.rows(learner.site)
        codes = dictionary.encode(x)
        loss = (codes @ dictionary.decoder + dictionary.decoder_bias - x).square().mean()
        wanted = dict(zip(NAMES, torch.autograd.grad(loss, [getattr(dictionary, name) for name in NAMES]), strict=True))
        atoms = dictionary.decoder.detach()
        wanted["decoder"] = wanted["decoder"] - (wanted["decoder"] * atoms).sum(1, keepdim=True) * atoms
        for name, parameter in zip(NAMES, stack.parameters, strict=True):
            assert_close(parameter.grad[number], wanted[name], rtol=1e-5, atol=1e-7)


def test_updates_by_themselves_and_stacked_ones_may_take_turns():
    apart, together = _learners(), _learners()
    stack = Stack(together)
    for step in range(30):
        for learner in apart:
            learner.update(_batch(step), None, 1e-3, step)
        if step % 3 == 1:
            for learner in together:
                learner.update(_batch(step), None, 1e-3, step)
        else:
            assert stack.update(_batch(step), 1e-3, step)
    for mine, theirs in zip(_parameters(apart), _parameters(together), strict=True):
        assert_close(theirs, mine, rtol=1e-5, atol=1e-6)
    for mine, theirs in zip(apart, together, strict=True):
        for key, value in mine.state()[0].items():
            assert_close(theirs.state()[0][key], value, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("trouble", ["dead", "nan", "endless"])
def test_a_step_that_a_dictionary_must_take_by_itself_is_left_alone(trouble):
    learners = _learners(dead_after=40 if trouble == "dead" else 2**40, k=1)
    stack = Stack(learners)
    for step in range(2):
        assert stack.update(_batch(step), 1e-3, step)
    before = [{key: value.clone() for key, value in learner.state()[0].items()} for learner in learners]
    batch = _batch(2, scale=1e30 if trouble == "endless" else 1.0)
    if trouble == "nan":
        batch.values[SITES[1]][3, 2] = torch.nan
    assert stack.update(batch, 1e-3, 2) == {}
    for learner, state in zip(learners, before, strict=True):
        assert all(torch.equal(value, state[key]) for key, value in learner.state()[0].items())
    if trouble == "dead":
        assert learners[0].update(batch, None, 1e-3, 2)["auxiliary"] > 0
    else:
        message = {"nan": "site '1' are not finite at step 2, position 3", "endless": "not finite at step 2"}[trouble]
        with pytest.raises(NumericsError, match=message):
            learners[1].update(batch, None, 1e-3, 2)


def test_only_dictionaries_of_one_shape_and_rate_are_stacked(monkeypatch):
    monkeypatch.setattr(stacking, "_is_faster", lambda learners, positions: True)
    learners = [*_learners(2), *_learners(2, lr=1e-3), *_learners(1, k=5), *_learners(2, latents=20)]
    config = learners[0].fit
    for number, learner in enumerate(learners):
        learner.name = f"d{number}"

    def named(steps=200, kept=None, **changes):
        stacks = make_stacks(config.model_copy(update=changes), learners, 30, steps, kept)
        return [[learner.name for learner in stack.learners] for stack in stacks]

    assert named() == [["d0", "d1"], ["d2", "d3"], ["d5", "d6"]]
    assert named(stack=False) == named(kernels="plain") == named(steps=199) == []
    assert named(kept=[["d5", "d6"]]) == [["d5", "d6"]]
    for learner in learners[5:]:
        learner.group.mode = "data"
    assert named(kept=[["d0", "d1"], ["d5", "d6"]]) == [["d0", "d1"]], "ranks that share out rows add their gradients up"
    assert named(kept=[["d0", "on another rank"]]) == []


@pytest.mark.parametrize(
    "changes",
    [{"architecture": {"kind": "batch_topk", "n_latents": 40, "k": 4}}, {"architecture": {"kind": "relu", "n_latents": 40}}],
)
def test_other_architectures_are_updated_by_themselves(changes):
    assert all(alike(learner) is None for learner in _learners(form="plain", **changes))


def _dictionaries(small):
    return {f"seed {seed}": {**small.VECTORS, "seed": seed} for seed in range(3)}


@pytest.fixture
def stacking_always(monkeypatch):
    monkeypatch.setattr(stacking, "LEAST_UPDATES", 1)
    monkeypatch.setattr(stacking, "_is_faster", lambda learners, positions: True)


def test_a_fit_names_its_stacks_and_resumes_them_to_the_same_bytes(small, tmp_path, monkeypatch, stacking_always):
    config = small.config(steps=12, dictionaries=_dictionaries(small), tokens=12 * small.ROWS, dead_after=10**6)
    whole, run, apart = (tmp_path / name for name in ("whole", "run", "apart"))
    fit(config, whole, host=small.mlp(), data=small.vectors())
    assert json.loads((whole / "provenance.json").read_text())["stacked"] == [["seed 0", "seed 1", "seed 2"]]
    plain = Stack.update

    def stopping(self, shared, lr, step, progress=1.0):
        if step == 7:
            raise KeyboardInterrupt
        return plain(self, shared, lr, step, progress)

    with monkeypatch.context() as patch:
        patch.setattr(Stack, "update", stopping)
        with pytest.raises(KeyboardInterrupt):
            fit(config, run, host=small.mlp(), data=small.vectors())
    with monkeypatch.context() as patch:  # the stacks are those of the first part, whatever would be chosen now
        patch.setattr(stacking, "LEAST_UPDATES", 10**9)
        fit(config, run, host=small.mlp(), data=small.vectors())
    assert small.weights(run) == small.weights(whole)
    assert (run / "metrics.jsonl").read_bytes() == (whole / "metrics.jsonl").read_bytes()
    fit(config.model_copy(update={"stack": False}), apart, host=small.mlp(), data=small.vectors())
    assert json.loads((apart / "provenance.json").read_text())["stacked"] == []
    for key, value in small.tensors(apart).items():
        assert_close(small.tensors(whole)[key], value, rtol=1e-4, atol=1e-6)


def test_the_choice_is_measured_and_said(small, tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(stacking, "LEAST_UPDATES", 1)
    config = small.config(steps=2, dictionaries=_dictionaries(small), tokens=2 * small.ROWS)
    with caplog.at_level("INFO", logger="pellucid"):
        run = fit(config, tmp_path / "run", host=small.mlp(), data=small.vectors())
    (said,) = [record.getMessage() for record in caplog.records if "are updated" in record.getMessage()]
    assert said.startswith("3 dictionaries of 50 latents of width 16 are updated ")
    stacked = json.loads((run / "provenance.json").read_text())["stacked"]
    assert stacked == ([["seed 0", "seed 1", "seed 2"]] if "updated stacked" in said else [])
