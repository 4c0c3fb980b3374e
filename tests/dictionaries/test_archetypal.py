from __future__ import annotations

import pytest
import torch
from tests.dictionaries.naive import D, M, N, check_slopes, moved, sample
from torch.testing import assert_close

from pellucid.core.config import build
from pellucid.core.errors import ConfigError
from pellucid.dictionaries import ArchetypalConfig, make_dictionary

CONFIG = ArchetypalConfig(n_latents=M, k=3, n_points=15, delta=0.1)


def test_forward_equals_a_naive_loop():
    dictionary, x = moved(CONFIG).requires_grad_(False), sample()
    forward = dictionary(x)
    scale = float(dictionary.log_scale.exp())
    atoms = []
    for i in range(M):
        mixed = sum(float(dictionary.mixture[i, p]) * dictionary.points[p] for p in range(15))
        atoms.append(scale * (mixed + dictionary.deviation[i].detach()))
    for t in range(N):
        pre = [float(dictionary.encoder[i] @ (x[t] - dictionary.decoder_bias) + dictionary.encoder_bias[i]) for i in range(M)]
        kept = sorted(range(M), key=lambda i: -pre[i])[:3]
        wanted = dictionary.decoder_bias.detach() + sum(max(pre[i], 0.0) * atoms[i] for i in kept)
        assert_close(forward.reconstruction[t].detach(), wanted)


def test_after_a_step_atoms_are_near_the_hull_again():
    dictionary = moved(CONFIG, by=1.0).requires_grad_(False)
    assert float(dictionary.mixture.min()) >= 0
    assert_close(dictionary.mixture.sum(dim=1), torch.ones(M, dtype=torch.float64), atol=1e-9, rtol=0)
    assert float(dictionary.deviation.norm(dim=1).max()) <= 0.1 + 1e-12
    gap = dictionary.decoder / dictionary.log_scale.exp() - dictionary.mixture @ dictionary.points
    assert float(gap.norm(dim=1).max()) <= 0.1 + 1e-12


def test_rows_without_positive_weight_become_even():
    dictionary = moved(CONFIG)
    with torch.no_grad():
        dictionary.mixture[2] = -1.0
    dictionary.after_step()
    assert_close(dictionary.mixture[2].detach(), torch.full((15,), 1 / 15, dtype=torch.float64))


def test_gradients_equal_finite_differences():
    check_slopes(moved(CONFIG), sample(), "encoder", "mixture", "deviation", "log_scale", "decoder_bias")


@pytest.mark.parametrize("points", ["centroids", "samples"])
def test_it_starts_at_points_of_the_data(points):
    rows = sample(60).float()
    dictionary = make_dictionary(ArchetypalConfig(n_latents=M, k=3, points=points), D, torch.Generator().manual_seed(0), rows)
    assert_close(dictionary.points.square().sum(dim=1).mean(), torch.tensor(1.0))
    assert_close(dictionary.decoder, dictionary.points)
    if points == "samples":
        ratios = dictionary.points[0] / rows
        assert int((ratios.std(dim=1) < 1e-5).sum()) == 1  # a row of the sample, scaled
    else:
        assert bool((dictionary.points.min(dim=0).values >= (rows.min(dim=0).values / rows.norm(dim=1).min())).all())


def test_too_small_a_sample_and_too_few_points_are_refused():
    with pytest.raises(ConfigError, match="15 points need a sample of at least as many activations, got 9"):
        make_dictionary(CONFIG, D, torch.Generator(), sample(9).float())
    with pytest.raises(ConfigError, match="got 0"):
        make_dictionary(CONFIG, D, torch.Generator())
    with pytest.raises(ConfigError, match="n_points is 4"):
        build(ArchetypalConfig, {"n_latents": M, "k": 3, "n_points": 4})
    with pytest.raises(ConfigError, match="all zero"):
        make_dictionary(ArchetypalConfig(n_latents=M, k=3, points="samples"), D, torch.Generator(), torch.zeros(40, D))


def test_what_no_training_leaves_is_named():
    dictionary = moved(CONFIG)
    with torch.no_grad():
        dictionary.mixture[0, 0] = -0.5
    assert any("shares" in problem for problem in dictionary.problems())
