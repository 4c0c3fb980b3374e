from __future__ import annotations

import math

import pytest
import torch
from tests.dictionaries.naive import NONE_DEAD, D, M, N, check_slopes, moved, sample
from torch.testing import assert_close

from pellucid.core.errors import ConfigError
from pellucid.dictionaries import ThresholdConfig, atomic_metric, atomic_product, make_dictionary
from pellucid.dictionaries.atomic import FLOOR, inverse_root
from pellucid.kernels.forms import get_form

CONFIG = ThresholdConfig(n_latents=M, bandwidth=0.7, threshold_init=0.45, l0_coefficient=0.1)


def test_forward_and_penalty_equal_a_naive_loop():
    dictionary, x = moved(CONFIG).requires_grad_(False), sample()
    forward = dictionary(x)
    active = 0
    for t in range(N):
        wanted = torch.zeros(D, dtype=torch.float64)
        for i in range(M):
            u = sum(float(dictionary.decoder[i, a] * dictionary.metric[a, b] * x[t, b]) for a in range(D) for b in range(D))
            z = u if u > float(dictionary.threshold[i]) else 0.0
            active += z > 0
            assert float(forward.codes[t, i]) == pytest.approx(z, abs=1e-10)
            wanted += z * dictionary.decoder[i].detach()
        assert_close(forward.reconstruction[t].detach(), wanted)
    sparsity = float(dictionary.penalty(forward, x, NONE_DEAD)["sparsity"].detach())
    energy = sum(float(row @ row) for row in sample(4 * M)) / (4 * M)
    assert 0 < active < N * M and sparsity == pytest.approx(0.1 * energy / D * active / N, rel=1e-5)


@pytest.mark.parametrize("target", [None, 2.0])
@pytest.mark.parametrize("atomic", [True, False])
@pytest.mark.parametrize("factor", [1e-2, 300.0])
def test_the_units_of_the_site_change_nothing(target, atomic, factor):
    config, found = ThresholdConfig(n_latents=M, bandwidth=1.1, threshold_init=0.45, atomic=atomic, target_l0=target), []
    for x in (sample(400).float(), factor * sample(400).float()):
        dictionary = make_dictionary(config, D, torch.Generator().manual_seed(0), x)
        forward = dictionary(x)
        energy, penalty = x.square().mean(), dictionary.penalty(forward, x, NONE_DEAD)["sparsity"]
        ((forward.reconstruction - x).square().mean() + penalty).backward()
        found.append((forward.codes > 0, forward.reconstruction / energy.sqrt(), penalty / energy))
        found[-1] += (dictionary.log_threshold.grad / energy,)
    assert 0 < float(found[0][0].double().mean()) < 1 and bool((found[0][3] != 0).any())
    assert float((found[0][0] != found[1][0]).double().mean()) < 1e-3  # a rounded product may fall on the other side
    for left, right in zip(found[0][1:], found[1][1:], strict=True):
        assert_close(left, right, rtol=1e-2, atol=1e-3)


def test_gradients_equal_finite_differences():
    check_slopes(moved(CONFIG), sample(), "directions", step=1e-7)


def test_atoms_have_unit_length_under_the_inner_product():
    dictionary = moved(CONFIG, by=1.0)
    squares = torch.einsum("ia,ab,ib->i", dictionary.decoder, dictionary.metric, dictionary.decoder)
    assert_close(squares.detach(), torch.ones(M, dtype=torch.float64))


def test_a_step_turns_the_atoms_as_far_at_every_scale_of_the_site():
    found = []
    for factor in (1e-2, 1.0, 300.0):
        x = factor * sample(400).float()
        dictionary = make_dictionary(CONFIG, D, torch.Generator().manual_seed(0), x)
        assert_close(dictionary.directions.norm(dim=1), torch.ones(M), rtol=1e-4, atol=0)
        before, optimizer = dictionary.directions.detach().clone(), torch.optim.Adam([dictionary.directions], lr=0.01, eps=0.0)
        (dictionary(x).reconstruction - x).square().mean().backward()
        optimizer.step()
        dictionary.after_step()
        found.append((dictionary.directions * before).sum(dim=1).detach())
        assert bool((found[-1] < 1 - 1e-5).all()), "every atom turns"
    for moved_by in found[1:]:
        assert_close(moved_by, found[0], rtol=0, atol=1e-4)


def test_the_root_undoes_the_metric():
    metric = atomic_metric(sample(400), D)
    root = inverse_root(metric)
    assert_close(root @ metric @ root, torch.eye(D, dtype=torch.float64))


def test_atoms_may_be_placed():
    dictionary, wanted = moved(CONFIG), sample(M)
    dictionary.place_atoms(wanted)
    assert_close(
        atomic_product(dictionary.decoder, wanted, dictionary.metric, normalised=True).diagonal(), torch.ones(M).double()
    )


@pytest.mark.parametrize(("m", "wanted"), [(12, 16 / (2 * math.log(12))), (1, 16 / (2 * math.log(2))), (5000, 1.0)])
def test_the_usual_l0_is_what_stands_out_of_random_directions(m, wanted):
    config = ThresholdConfig(n_latents=m)
    dictionary = make_dictionary(config, 16, torch.Generator(), sample(64, 16).float())
    assert dictionary.usual_l0 == pytest.approx(wanted)


def test_the_metric_inverts_the_second_moment():
    x = sample(400)
    moment = sum(torch.outer(row, row) for row in x) / len(x)
    assert_close(atomic_metric(x, D) @ moment, torch.eye(D, dtype=torch.float64))


def test_a_direction_that_no_activation_uses_stays_finite():
    x = sample(400)
    x[:, 2] = 0
    metric, moment = atomic_metric(x, D), x.T @ x / len(x)
    assert float(metric[2, 2]) == pytest.approx(D / (FLOOR * float(moment.diagonal().sum())), rel=1e-6)
    used = [0, 1, 3, 4]
    assert_close(metric[used][:, used] @ moment[used][:, used], torch.eye(4, dtype=torch.float64), rtol=1e-6, atol=1e-6)
    assert make_dictionary(CONFIG, D, torch.Generator().manual_seed(0), x.float())(x.float()).codes.isfinite().all()


def test_products_equal_a_naive_loop():
    u, v, metric = sample(6), sample(4), atomic_metric(sample(400), D)
    v[1] = 0
    plain, normalised = atomic_product(u, v, metric), atomic_product(u, v, metric, normalised=True)
    for i in range(6):
        for j in range(4):
            by_hand = sum(float(u[i, a] * metric[a, b] * v[j, b]) for a in range(D) for b in range(D))
            lengths = float((u[i] @ metric @ u[i]).sqrt() * (v[j] @ metric @ v[j]).sqrt())
            assert float(plain[i, j]) == pytest.approx(by_hand, abs=1e-12)
            assert float(normalised[i, j]) == pytest.approx(by_hand / lengths if lengths else 0, abs=1e-12)


def test_a_change_of_coordinates_changes_no_inner_product():
    x, turn = sample(400), torch.randn(D, D, generator=torch.Generator().manual_seed(4), dtype=torch.float64)
    moved_x = x @ turn.T
    left, right = (atomic_product(rows, rows, atomic_metric(rows, D)) for rows in (x, moved_x))
    assert_close(left, right, rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("name", ["stock", "numba"])
def test_sparse_kernels_give_the_same(name):
    config, found = ThresholdConfig(n_latents=96, threshold_init=2.5, bandwidth=0.15), []
    for form in (None, get_form(name)):
        dictionary = make_dictionary(config, 8, torch.Generator().manual_seed(0), sample(64, 8).float())
        dictionary.form, x = form, sample(64, 8).float()
        forward = dictionary(x)
        assert (forward.entries is None) == (form is None)
        terms = dictionary.penalty(forward, x, torch.zeros(96, dtype=torch.bool))
        (terms["sparsity"] + (forward.reconstruction - x).square().mean()).backward()
        found.append([forward.reconstruction.detach(), *(p.grad for p in dictionary.parameters())])
    for left, right in zip(*found, strict=True):
        assert_close(left, right, rtol=1e-4, atol=1e-5)


def test_a_sample_that_cannot_give_the_metric_is_refused():
    with pytest.raises(ConfigError, match="needs at least as many activations, got 3"):
        make_dictionary(CONFIG, D, torch.Generator(), sample(3).float())
    euclidean = make_dictionary(ThresholdConfig(n_latents=M, atomic=False, input_scale=2.0), D, torch.Generator())
    assert torch.equal(euclidean.metric, torch.eye(D))
