"""Steerability: effect against strength, matched random ablations, and counts of features with intervals."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from tests.claims.sentiment_toy import BAD, GOOD, PROMPTS, SITE, sentiment_direction, single_tokens, tiny_dictionaries

from pellucid.dictionaries import ReluConfig, make_dictionary
from pellucid.features.steering import (
    Edit,
    EditedPass,
    Steerable,
    ablate_group,
    dose_response,
    richness,
    steerability,
    tokenize,
)
from pellucid.hosts import Host

RESULTS = Path(__file__).parents[2] / "benchmarks" / "results" / "steering.json"
STRENGTHS = (-1.0, -0.5, -0.25, -0.1, 0.1, 0.25, 0.5, 1.0)
TEXT = "The town lies on a river in the north of the country, and most of the people there work in the mills"


@pytest.fixture(scope="module")
def smollm2() -> Steerable:
    return Steerable(Host.load("smollm2"))


@pytest.fixture(scope="module")
def sentiment(smollm2) -> Edit:
    return Edit(site=SITE, direction=sentiment_direction(smollm2), value=1.0, relative=True)


@pytest.fixture(scope="module")
def curve(smollm2, sentiment):
    prompts = [tokenize(smollm2.host, prompt) for prompt in PROMPTS]
    sides = [single_tokens(smollm2, words) for words in (GOOD, BAD)]
    return steerability(smollm2, prompts, *sides, sentiment, strengths=STRENGTHS)


def test_evaluation_09_1_log_odds_rise_with_strength_until_refusal(curve):
    assert curve.shape.monotone
    assert curve.shape.monotone_from <= -0.25 and curve.shape.monotone_to >= 0.1
    # On the stretch between, the effect is no noise: the shift's interval lies on the side the strength asks for.
    for stance in curve.stances:
        if curve.shape.monotone_from <= stance.strength < 0:
            assert stance.shift.high < 0
        if 0 < stance.strength <= curve.shape.monotone_to:
            assert stance.shift.low > 0


def test_evaluation_09_1_refusal_is_reported_beside_the_effect(curve):
    ends = [stance.refusal.value for stance in (curve.stances[0], curve.stances[-1])]
    middle = next(stance.refusal.value for stance in curve.stances if stance.strength == 0)
    assert min(ends) > middle and curve.shape.broken_below is not None and curve.shape.broken_above is not None
    assert all(0 <= s.following.low <= s.following.value <= s.following.high <= 1 for s in curve.stances)


@pytest.mark.xfail(
    strict=True, reason="log-odds rise from -1.0 to 0.5 times |h| and fall at 1.0, where the text is not yet told as degenerate"
)
def test_evaluation_09_1_log_odds_rise_with_strength_until_degeneration(smollm2, sentiment):
    tokens = tokenize(smollm2.host, TEXT)
    read = torch.ones_like(tokens, dtype=torch.bool)
    read[:, 0] = False
    texts = EditedPass(smollm2, tokens, read=read, sites=[smollm2.host.site(SITE)])
    found = dose_response(texts, sentiment, single_tokens(smollm2, GOOD), strengths=STRENGTHS)
    assert found.shape.monotone and found.shape.monotone_to > 0
    assert found.shape.broken_above is not None and found.shape.broken_below is not None
    kl = {dose.strength: dose.kl for dose in found.doses}
    assert kl[1.0] > kl[0.25] > kl[0.1] > kl[0.0] == 0


def test_evaluation_09_2_matched_random_latents_have_a_smaller_effect(llama_host, token_inputs):
    dictionary = make_dictionary(ReluConfig(n_latents=256), 32, torch.Generator().manual_seed(0)).eval()
    site = llama_host.site("layers.3")
    steerable = Steerable(llama_host, {"relu": (dictionary, site)})
    tokens = torch.randint(2, 97, (16, 12), generator=torch.Generator().manual_seed(2))
    read = torch.ones_like(tokens, dtype=torch.bool)
    read[:, 0] = False
    texts = EditedPass(steerable, tokens, read=read, sites=[site])
    value = llama_host.run({"input_ids": tokens}, capture=[site], stop=True).values[site]
    with torch.no_grad():
        codes = dictionary.encode(value[read])
        # What each latent gives to one token beside the others, on the direct path to the logits.
        effect = dictionary.contributions() @ (llama_host.module.lm_head.weight[7] - llama_host.module.lm_head.weight.mean(0))
    core = (codes.mean(0) * effect).topk(6).indices.tolist()
    firings = (codes > 0).sum(0)
    found = ablate_group(texts, "relu", core, firings, measure=lambda before, after: (before - after)[:, 7], n_controls=30)
    assert found.effect > max(found.controls) and found.p_value == pytest.approx(1 / 31)


@pytest.mark.parametrize("name", ["local", "e2e", "e2e+ds"])
def test_evaluation_09_2_smollm2_matched_random_latents_have_a_smaller_effect(name):
    found = json.loads(RESULTS.read_text())["dictionaries"][name]["ablation"]
    assert found["controls"] >= 20 and found["ce_increase"] > found["control_max"] and found["ce_increase"] > 0


def test_evaluation_09_3_features_are_counted_with_threshold_prompts_and_interval(llama_host):
    steerable = Steerable(llama_host, tiny_dictionaries(llama_host))
    rows = torch.randint(2, 97, (300, 8), generator=torch.Generator().manual_seed(3))
    every = [row.unsqueeze(0) for row in rows]
    whole = richness(steerable, "topk", every, threshold=0.03, share=0.25)
    assert 0 < whole.features.value < 40
    inside = 0
    for i in range(6):
        found = richness(steerable, "topk", every[50 * i : 50 * i + 50], threshold=0.03, share=0.25, seed=i)
        assert (found.threshold, found.share, found.prompts, found.features.n) == (0.03, 0.25, 50, 50)
        assert found.features.low < found.features.high
        inside += found.features.low <= whole.features.value <= found.features.high
    assert inside >= 5
    counts = [richness(steerable, "topk", every[:50], threshold=t, share=0.25).features.value for t in (0.0, 0.03, 0.05, 99.0)]
    assert counts == sorted(counts, reverse=True) and counts[-1] == 0
