"""Curves, intervals, baselines and group ablations against plain computations."""

from __future__ import annotations

import math

import pytest
import torch

from pellucid.core.errors import ConfigError, DataError
from pellucid.features.steering import (
    Edit,
    EditedPass,
    Steerable,
    ablate_group,
    difference_in_means,
    dose_response,
    match_kl,
    principal_component,
    random_direction,
    richness,
    steered_logits,
)
from pellucid.features.steering.ablation import matched
from pellucid.features.steering.curve import shape
from pellucid.features.steering.dose import harmonic_mean
from pellucid.features.steering.intervals import mean_of
from pellucid.features.steering.passes import kl_divergence, log_odds


@pytest.fixture
def steerable(llama_host, dictionaries):
    return Steerable(llama_host, dictionaries)


@pytest.fixture
def texts(steerable, token_inputs):
    tokens = token_inputs["input_ids"]
    read = torch.zeros(tokens.shape, dtype=torch.bool)
    read[:, 4:] = True
    return EditedPass(steerable, tokens, read=read, sites=[steerable.host.site("layers.1")])


def test_a_pass_that_starts_at_the_site_gives_the_whole_runs_log_probabilities(texts, steerable):
    edits = [Edit(dictionary="topk", latent=2, operation="set", value=3.0)]
    for some in (edits, [*edits, Edit(dictionary="relu", latent=2, value=1.0)], []):
        whole = steered_logits(steerable, texts.tokens, some)[texts.read].log_softmax(-1)
        torch.testing.assert_close(texts.after(some), whole, atol=1e-6, rtol=1e-6)
    places, labels = texts.labels()
    assert labels.tolist() == texts.tokens[:, 5:].flatten().tolist()
    assert texts.read.nonzero()[places, 1].max() == 10


def test_log_odds_and_kl_are_their_formulas(texts):
    after = texts.after([Edit(dictionary="topk", latent=2, value=1.0)])
    p, q = texts.before.double().exp(), after.double().exp()
    torch.testing.assert_close(kl_divergence(texts.before, after).double(), (p * (p / q).log()).sum(-1), atol=1e-6, rtol=1e-4)
    some = q[:, [3, 5]].sum(-1)
    torch.testing.assert_close(log_odds(after, [3, 5]).double(), (some / (1 - some)).log(), atol=1e-5, rtol=1e-5)
    for tokens in ([], range(97)):
        with pytest.raises(ConfigError, match=f"log-odds of {len(tokens)} of 97 tokens are not defined"):
            log_odds(after, list(tokens))


def test_a_dose_holds_what_a_plain_computation_gives(texts):
    edit = Edit(dictionary="topk", latent=2, value=1.0)
    curve = dose_response(texts, edit, [3, 5], strengths=[2.0, -1.0])
    assert [dose.strength for dose in curve.doses] == [-1.0, 0.0, 2.0] and curve.tokens == ["3", "5"]
    after = texts.after([Edit(dictionary="topk", latent=2, value=2.0)])
    places, labels = texts.labels()
    dose = curve.doses[-1]
    assert dose.tokens == pytest.approx(after[:, [3, 5]].exp().mean(0).tolist(), rel=1e-5)
    assert dose.concept == pytest.approx(sum(dose.tokens), rel=1e-5)
    assert dose.perplexity == pytest.approx(math.exp(-float(after[places, labels].mean())), rel=1e-5)
    assert dose.fluency == pytest.approx(min(1.0, curve.doses[1].perplexity / dose.perplexity))
    assert dose.kl == pytest.approx(float(kl_divergence(texts.before, after).mean()), rel=1e-4)
    assert curve.doses[1].kl == 0 and curve.doses[1].fluency == 1
    assert harmonic_mean(0.2, 0.6) == pytest.approx(0.3) and harmonic_mean(0.0, 0.0) == 0


def test_a_curve_without_a_strength_or_next_tokens_is_refused(steerable, texts):
    with pytest.raises(ConfigError, match=r"strength inf is not a finite number"):
        dose_response(texts, Edit(dictionary="topk", latent=2, value=1.0), [3], strengths=[math.inf])
    with pytest.raises(ConfigError, match=r"operation 'ablate_zero' has no strength"):
        dose_response(texts, Edit(dictionary="topk", latent=2, operation="ablate_zero"), [3])
    with pytest.raises(ConfigError, match=r"no read position has a next token"):
        dose_response(EditedPass(steerable, texts.tokens), Edit(dictionary="topk", latent=2, value=1.0), [3])
    with pytest.raises(DataError, match=r"no position of tokens \(3, 12\) is to be read"):
        EditedPass(steerable, texts.tokens, read=torch.zeros(3, 12, dtype=torch.bool))


def test_the_shape_of_a_curve():
    strengths = [-2.0, -1.0, 0.0, 1.0, 2.0, 3.0]
    found = shape(strengths, [5.0, 1.0, 2.0, 3.0, 4.0, 0.0], [True, False, False, False, False, True])
    assert (found.monotone_from, found.monotone_to) == (-1.0, 2.0)
    assert (found.broken_below, found.broken_above, found.monotone) == (-2.0, 3.0, True)
    dips = shape(strengths, [0.0, 1.0, 2.0, 3.0, 2.5, 4.0], [False] * 6)
    assert (dips.monotone_to, dips.broken_above, dips.monotone) == (1.0, None, False)


def test_a_bootstrap_interval_holds_the_true_mean_about_as_often_as_it_says():
    generator = torch.Generator().manual_seed(0)
    found = [mean_of(torch.randn(40, generator=generator), seed=i) for i in range(200)]
    # 95 % of intervals; percentile intervals of 40 units hold a little less, 184 of 200 is three deviations below.
    assert 180 <= sum(estimate.low <= 0 <= estimate.high for estimate in found) <= 199
    one = mean_of(torch.tensor([2.0]))
    assert (one.value, one.low, one.high, one.n) == (2.0, 2.0, 2.0, 1)
    with pytest.raises(DataError, match="found none"):
        mean_of(torch.zeros(0))


@pytest.mark.parametrize("target", [1e-5, 1e-3])
def test_a_strength_is_found_for_a_kl(texts, target):
    for sign in (1.0, -1.0):
        edit = Edit(site="layers.1", direction=random_direction(32), value=1.0)
        found, kl = match_kl(texts, edit, target, tolerance=0.01, sign=sign)
        assert abs(kl - target) <= 0.01 * target and found.value is not None and found.value * sign > 0
        assert float(kl_divergence(texts.before, texts.after([found])).mean()) == pytest.approx(kl, rel=1e-6)


def test_a_kl_that_cannot_be_reached_is_refused(texts):
    edit = Edit(site="layers.1", direction=random_direction(32), value=1.0, positions="3")
    with pytest.raises(ConfigError, match=r"does not reach a KL of 50.0 nats|jumps over 50.0 nats"):
        match_kl(texts, edit, 50.0)
    with pytest.raises(ConfigError, match=r"target is 0\.0 nats, wanted a finite KL above 0"):
        match_kl(texts, edit, 0.0)


def test_directions_from_two_sets_of_rows():
    generator = torch.Generator().manual_seed(0)
    axis = torch.nn.functional.normalize(torch.randn(16, generator=generator), dim=0)
    positive, negative = (torch.randn(200, 16, generator=generator) * 0.1 + side * 3 * axis for side in (1, -1))
    difference = difference_in_means(positive, negative)
    torch.testing.assert_close(difference, positive.mean(0) - negative.mean(0), atol=1e-5, rtol=1e-5)
    component = principal_component(positive, negative)
    assert float(component @ axis) > 0.999 and float(component.norm()) == pytest.approx(1, abs=1e-5)
    assert float(random_direction(16, 1) @ random_direction(16, 2)) < 0.9
    assert float(random_direction(16, 1).norm()) == pytest.approx(1, abs=1e-6)
    with pytest.raises(DataError, match="found 0 and 200"):
        difference_in_means(positive[:0], negative)
    with pytest.raises(DataError, match="the same mean"):
        difference_in_means(positive, positive)


def test_matched_latents_fire_as_often_and_are_others():
    firings = torch.cat([torch.zeros(10), torch.arange(1, 301)])
    group = [50, 51, 299]
    found = matched(firings, group, "0/0")
    assert len(set(found)) == 3 and not set(found) & set(group)
    assert all(abs(float(firings[a] - firings[b])) <= 23 and firings[a] > 0 for a, b in zip(found, group, strict=True))
    assert matched(firings, group, "0/0") == found != matched(firings, group, "0/1")
    with pytest.raises(ConfigError, match=r"2 latents need as many others that fire, found 1"):
        matched(torch.tensor([1, 1, 1, 0]), [0, 1], "0/0")


def test_a_group_is_ablated_together_and_beside_random_ones(texts):
    firings = torch.arange(40)
    found = ablate_group(texts, "topk", [5, 8], firings, n_controls=4, seed=1)
    edits = [Edit(dictionary="topk", latent=i, operation="ablate_zero") for i in (5, 8)]
    assert found.effect == pytest.approx(float(kl_divergence(texts.before, texts.after(edits)).mean()), rel=1e-5)
    assert found.p_value == (1 + sum(c >= found.effect for c in found.controls)) / 5
    with pytest.raises(ConfigError, match=r"(?s)latent 40 is outside 0 to 39.*names a latent twice.*n_controls is 0"):
        ablate_group(texts, "topk", [40, 40], firings, n_controls=0)


def test_richness_counts_latents_above_a_threshold_on_a_share_of_the_prompts(steerable, token_inputs):
    prompts = [row.unsqueeze(0) for row in token_inputs["input_ids"]]
    dictionary, site = steerable.dictionaries["topk"]
    h = steerable.host.run(token_inputs, capture=[site], stop=True).values[site].detach()
    with torch.no_grad():
        codes = dictionary.eval().encode(h.reshape(-1, 32)).reshape(3, 12, -1)[:, 1:]
    passes = (codes > 0.5).any(1).sum(0)
    for share, least in ((0.3, 1), (2 / 3, 2), (1.0, 3)):
        found = richness(steerable, "topk", prompts, threshold=0.5, share=share)
        assert found.latents == (passes >= least).nonzero().squeeze(-1).tolist() and found.prompts == 3
        assert found.features.low <= found.features.value == len(found.latents) and found.features.n == 3
    with pytest.raises(ConfigError, match=r"(?s)no prompt.*threshold is -1.*share is 0"):
        richness(steerable, "topk", [], threshold=-1.0, share=0.0)
