"""Conventions of steering and ablation."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from tests.claims.sentiment_toy import BAD, GOOD, PROMPTS, SITE, sentiment_direction, single_tokens, tiny_dictionaries

from pellucid.features.steering import (
    Edit,
    EditedPass,
    Steerable,
    match_kl,
    random_direction,
    steered_logits,
    tokenize,
)
from pellucid.features.steering.intervals import mean_of
from pellucid.features.steering.passes import kl_divergence
from pellucid.hosts import Host

RESULTS = Path(__file__).parents[2] / "benchmarks" / "results" / "steering_equal_kl.json"
RANDOMS = 8
NATS = 0.3


@pytest.fixture
def steerable(llama_host):
    return Steerable(llama_host, tiny_dictionaries(llama_host))


@pytest.fixture(scope="module")
def smollm2() -> Steerable:
    return Steerable(Host.load("smollm2"))


@pytest.mark.parametrize("settings", [{}, {"relative": True}, {"positions": "last"}])
def test_evaluation_10_1_a_strength_of_zero_changes_nothing(steerable, token_inputs, settings):
    tokens = token_inputs["input_ids"]
    plain = steerable.host.run(token_inputs).output.logits
    for name in ("topk", "relu"):
        found = steered_logits(steerable, tokens, [Edit(dictionary=name, latent=3, value=0.0, **settings)])
        assert float((found - plain).abs().max()) < 1e-5


def test_evaluation_10_1_a_strength_of_zero_changes_nothing_on_smollm2(smollm2):
    tokens = tokenize(smollm2.host, "The capital of France is")
    plain = smollm2.host.run({"input_ids": tokens}).output.logits
    edit = Edit(site=SITE, direction=random_direction(576), value=0.0)
    assert float((steered_logits(smollm2, tokens, [edit]) - plain).abs().max()) < 1e-5
    assert torch.equal(steered_logits(smollm2, tokens), plain)


@pytest.mark.parametrize("name", ["topk", "relu"])
def test_evaluation_10_2_clamping_and_adding_agree_where_the_code_moves_as_far(steerable, token_inputs, name):
    tokens = token_inputs["input_ids"][:1]
    dictionary, site = steerable.dictionaries[name]
    h = steerable.host.run({"input_ids": tokens}, capture=[site], stop=True).values[site][0]
    with torch.no_grad():
        codes = dictionary.eval().encode(h)
    latent = int((codes[1:] > 0).sum(0).argmax())
    c = 2 * float(codes.max())
    clamped = steered_logits(steerable, tokens, [Edit(dictionary=name, latent=latent, operation="set", value=c)])
    added = [
        Edit(dictionary=name, latent=latent, value=c - float(codes[at, latent]), positions=(at,)) for at in range(1, len(h))
    ]
    assert len({edit.value for edit in added}) > 1
    plain = steered_logits(steerable, tokens)
    difference = float((clamped - steered_logits(steerable, tokens, added)).abs().max())
    assert difference < 1e-5 and difference < 1e-3 * float((clamped - plain).abs().max())


@pytest.fixture(scope="module")
def gains(smollm2) -> tuple[float, torch.Tensor]:
    """Shift of the log-odds of good words over bad ones at NATS, by the concept's direction and by random ones."""
    site = smollm2.host.site(SITE)
    tokens = torch.cat([tokenize(smollm2.host, prompt) for prompt in PROMPTS])
    texts = EditedPass(smollm2, tokens, sites=[site])
    good, bad = (single_tokens(smollm2, words) for words in (GOOD, BAD))

    def gain(direction):
        edit, kl = match_kl(texts, Edit(site=SITE, direction=direction, value=0.5, relative=True), NATS, tolerance=0.05)
        assert kl == pytest.approx(NATS, rel=0.05)
        stances = [p[:, good].logsumexp(-1) - p[:, bad].logsumexp(-1) for p in (texts.before, texts.after([edit]))]
        return float((stances[1] - stances[0]).mean())

    return gain(sentiment_direction(smollm2)), torch.tensor([gain(random_direction(576, seed)) for seed in range(RANDOMS)])


@pytest.mark.xfail(strict=True, reason="eight random directions at 0.3 nats shift the log-odds by -0.35, [-0.53, -0.24]")
def test_evaluation_10_3_random_directions_at_equal_kl_gain_within_noise(gains):
    interval = mean_of(gains[1])
    assert interval.low < 0 < interval.high


def test_evaluation_10_3_the_concept_gains_more_than_any_random_direction_at_equal_kl(gains):
    concept, noise = gains
    assert concept > float(noise.max()) and concept > 2 * float(noise.std())


FALLING = (
    "16 random directions at the KL of eight features of `local` move the token by -0.18 nats, [-0.37, -0.01]: not within noise"
)


@pytest.mark.parametrize("name", [pytest.param("local", marks=pytest.mark.xfail(strict=True, reason=FALLING)), "e2e", "e2e+ds"])
def test_evaluation_10_3_smollm2_random_directions_at_a_features_kl_gain_within_noise(name):
    found = json.loads(RESULTS.read_text())["dictionaries"][name]["equal_kl"]
    assert found["random"]["low"] < 0 < found["random"]["high"]
    assert found["feature"]["low"] > found["random"]["high"]


@pytest.mark.parametrize("name", ["topk", "relu"])
def test_evaluation_10_4_ablation_keeps_the_error_and_all_else(steerable, token_inputs, name):
    tokens = token_inputs["input_ids"]
    dictionary, site = steerable.dictionaries[name]
    h = steerable.host.run(token_inputs, capture=[site], stop=True).values[site]
    rows = h.reshape(-1, h.shape[-1])
    with torch.no_grad():
        codes = dictionary.eval().encode(rows)
        error = rows - dictionary.decode(codes)
        latent = int(codes.sum(0).argmax())
        without = codes.clone()
        without[:, latent] = 0
        reconstruction_only = dictionary.decode(without)
    bound = steerable.bind([Edit(dictionary=name, latent=latent, operation="ablate_zero", positions=":")], 12, 12)
    found = steerable.host.run(token_inputs, edit=bound.replacements(), capture=[site], stop=True).values[site]
    found = found.reshape(rows.shape)
    assert float(error.norm()) > 0.1 * float(rows.norm())
    torch.testing.assert_close(found - reconstruction_only, error, atol=1e-5, rtol=1e-4)
    # Where the latent is silent nothing at all is changed.
    silent = codes[:, latent] == 0
    assert torch.equal(found[silent], rows[silent])
    # Spliced into the host, the pass over the reconstruction alone gives other logits; with its error back, the edit's.
    spliced = [
        steerable.host.run({"input_ids": tokens}, edit={site: lambda value, new=new: new.reshape(value.shape)}).output.logits
        for new in (reconstruction_only, reconstruction_only + error)
    ]
    edited = steered_logits(steerable, tokens, [Edit(dictionary=name, latent=latent, operation="ablate_zero", positions=":")])
    torch.testing.assert_close(spliced[1], edited, atol=1e-5, rtol=1e-4)
    assert float((spliced[0] - edited).abs().max()) > 1e-3


def test_evaluation_10_3_the_kl_that_baselines_are_matched_at_is_that_of_the_outputs(smollm2):
    tokens = tokenize(smollm2.host, PROMPTS[0])
    texts = EditedPass(smollm2, tokens, sites=[smollm2.host.site(SITE)])
    found, kl = match_kl(texts, Edit(site=SITE, direction=random_direction(576, 3), value=0.5, relative=True), 0.1)
    before, after = (steered_logits(smollm2, tokens, edits, last=1)[0].log_softmax(-1) for edits in ((), (found,)))
    assert kl == pytest.approx(float(kl_divergence(before, after).mean()), rel=1e-3) and kl == pytest.approx(0.1, rel=0.01)
