"""Metrics against planted truth and between dictionaries: naive loops and invariances."""

from __future__ import annotations

import itertools
import math

import pytest
import torch

from pellucid.core.errors import ConfigError, DataError
from pellucid.data.planted import PlantedData, regime
from pellucid.evaluation.absorption import absorption
from pellucid.evaluation.choice import Cell, choose, regret
from pellucid.evaluation.recovery import match
from pellucid.evaluation.similarity import best_cosines, chance, cosines, histogram_by_rate, mmcs, spearman
from pellucid.evaluation.stability import agreement, doubling, live, next_larger
from pellucid.evaluation.support import selectivity, support


def rows(n: int, d: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(n, d, generator=torch.Generator().manual_seed(seed))


def test_mmcs_is_that_of_a_loop_and_knows_no_order_nor_length():
    truth, atoms = rows(6, 5, 1), rows(9, 5, 2)
    best = []
    for g in truth.tolist():
        values = []
        for d in atoms.tolist():
            dot = sum(a * b for a, b in zip(g, d, strict=True))
            values.append(dot / math.sqrt(sum(a * a for a in g)) / math.sqrt(sum(b * b for b in d)))
        best.append(max(values))
    assert mmcs(truth, atoms) == pytest.approx(sum(best) / 6, abs=1e-6)
    assert best_cosines(truth, atoms).tolist() == pytest.approx(best, abs=1e-6)
    order = torch.randperm(9, generator=torch.Generator().manual_seed(0))
    assert mmcs(truth, (atoms * 2.0 ** torch.arange(9).unsqueeze(1))[order]) == pytest.approx(mmcs(truth, atoms), abs=1e-12)
    assert mmcs(truth, atoms) != pytest.approx(mmcs(atoms, truth))
    assert mmcs(truth, torch.cat([atoms, rows(3, 5, 3)])) >= mmcs(truth, atoms)
    assert chance(truth, 64) > chance(truth, 4)
    with pytest.raises(ConfigError, match="widths 5 and 4"):
        cosines(truth, rows(2, 4))
    with pytest.raises(ConfigError, match="6 and 0 directions"):
        mmcs(truth, rows(0, 5))


def test_histograms_count_every_feature_once_rarest_first():
    rates = torch.tensor([0.4, 0.1, 0.2, 0.3, 0.05])
    best = torch.tensor([0.99, 0.31, 0.55, 0.97, -0.2])
    found = histogram_by_rate(best, rates, groups=2, bins=10)
    assert found.counts == ((1, 0, 0, 1, 0, 1, 0, 0, 0, 0), (0, 0, 0, 0, 0, 0, 0, 0, 0, 2))
    assert found.rates == pytest.approx((0.05, 0.2, 0.4))
    assert found.rank_correlation == pytest.approx(1)
    with pytest.raises(ConfigError, match="cannot be cut into 6 groups"):
        histogram_by_rate(best, rates, groups=6)


def test_spearman_is_that_of_scipy():
    from scipy.stats import spearmanr

    a, b = rows(1, 30, 1)[0].round(), rows(1, 30, 2)[0].round()
    assert spearman(a, b) == pytest.approx(float(spearmanr(a, b).statistic))
    assert math.isnan(spearman(torch.ones(3), torch.arange(3.0)))


def test_support_is_that_of_a_loop():
    truth = torch.eye(4)[:3]
    matching = match(torch.eye(4)[[1, 0]], truth)  # features 0 and 1 have partners 1 and 0, feature 2 none
    codes, coefficients = rows(50, 2, 1).relu(), rows(50, 3, 2).relu()
    both = fired = active = 0
    for code, wanted in zip(codes.tolist(), coefficients.tolist(), strict=True):
        for feature in range(3):
            partner = {0: 1, 1: 0}.get(feature)
            on = partner is not None and code[partner] > 0
            both, fired, active = both + (on and wanted[feature] > 0), fired + on, active + (wanted[feature] > 0)
    found = support(codes, coefficients, matching)
    assert (found.both, found.fired, found.active) == (both, fired, active)
    assert found.precision == both / fired and found.recall == both / active
    assert found.f1 == pytest.approx(2 / (1 / found.precision + 1 / found.recall))
    assert support(7 * codes, coefficients / 3, matching) == found
    each = selectivity(codes, coefficients, matching)
    assert float(each[2]) == 0 and 0 < float(each[0]) < 1
    assert math.isnan(support(torch.zeros(4, 2), torch.zeros(4, 3), matching).f1)


def test_absorption_of_the_truth_is_zero_and_of_merged_children_is_seen():
    data = PlantedData(regime("hierarchy"))
    truth = data.truth(torch.arange(4000))
    parents = data.parents()
    same = match(data.atoms, data.atoms)
    clean = absorption(truth.coefficients, data.atoms, truth.coefficients, data.atoms, parents, same)
    assert clean.rate == 0 and clean.full == 0 and abs(clean.parent_cosine) < 0.1
    # Each child's atom takes its parent in: the parent's latent is silent wherever a child's is not.
    children = (parents >= 0).nonzero().flatten()
    decoder = data.atoms.clone()
    decoder[children] += data.atoms[parents[children]]
    codes = truth.coefficients.clone()
    for child in children.tolist():
        codes[truth.coefficients[:, child] > 0, parents[child]] = 0
    merged = absorption(codes, decoder, truth.coefficients, data.atoms, parents, same)
    assert merged.full == 1 and merged.rate == pytest.approx(0.6, abs=0.03) and merged.parent_cosine > 0.6
    # a token of each kind by hand: m = 0.4, s = 0.9, t = 1 gives min(0.9, 0.6) / (0.6 + 0.4)
    two = torch.eye(2)
    by_hand = absorption(
        torch.tensor([[0.4, 0.9]]), torch.tensor([[1.0, 0.0], [1.0, 0.0]]), torch.tensor([[1.0, 1.0]]), two,
        torch.tensor([-1, 0]), match(torch.tensor([[1.0, 0.0], [0.8, 0.6]]), two),
    )  # fmt: skip
    assert by_hand.rate == pytest.approx(0.6)
    with pytest.raises(DataError, match="no feature has a parent"):
        absorption(codes, decoder, truth.coefficients, data.atoms, torch.full_like(parents, -1), same)


def test_agreement_of_equal_dictionaries_is_one_whatever_their_order():
    atoms = rows(7, 16)
    shuffled = 3 * atoms[torch.randperm(7, generator=torch.Generator().manual_seed(1))]
    same = agreement([atoms, shuffled, atoms])
    assert (same.matched, same.mmcs, same.shared) == pytest.approx((1, 1, 1))
    a, b = rows(4, 6, 1), rows(5, 6, 2)
    found = agreement([a, b])
    table = cosines(a, b)
    best = max(sum(float(table[i, j]) for i, j in enumerate(p)) for p in itertools.permutations(range(5), 4))
    assert found.matched == pytest.approx(best / 4)
    assert found.mmcs == pytest.approx((mmcs(a, b) + mmcs(b, a)) / 2) and agreement([b, a]) == found
    other = agreement([a, rows(4, 6, 3)]).matched
    assert other == pytest.approx(match(a, rows(4, 6, 3)).mcs) and other < 0.9
    with pytest.raises(ConfigError, match="two dictionaries or more, got 1"):
        agreement([a])


def test_the_next_larger_dictionary_and_doubling():
    small, large = rows(4, 6, 1), rows(8, 6, 2)
    assert next_larger(small, torch.cat([large, small])) == pytest.approx(1)
    assert next_larger(small, large) == mmcs(small, large)
    alive = live(torch.tensor([[0.0, 1.0, 0.0, 0.0], [0.0, 0.0, 2.0, 0.0]]))
    assert alive.tolist() == [False, True, True, False]
    assert next_larger(small, large, alive) == mmcs(small[1:3], large)
    assert math.isnan(next_larger(small, large, torch.zeros(4, dtype=torch.bool)))
    still = doubling(small, 2 * small, large)
    assert still.change < 1e-12 and still.moved == pytest.approx(0) and not still.undertrained
    assert doubling(small, large[:4], large).undertrained


def test_choice_takes_the_smallest_of_the_best_and_regret_counts_steps():
    grid = [
        Cell(32, 0.1, 0.5, 0, 0.001, 0.5), Cell(64, 0.1, 0.5, 0, 0.0005, 0.6), Cell(128, 0.1, None, 0, 0.0001, 0.6),
        Cell(32, 0.3, 0.7, 1, 0.1, 0.7), Cell(64, 0.3, 0.95, 2, 0.02, 0.95), Cell(128, 0.3, None, 60, 0.01, 0.96),
        Cell(32, 1.0, 0.4, 15, 0.3, 0.5), Cell(64, 1.0, 0.945, 7, 0.2, 0.9), Cell(128, 1.0, None, 70, 0.1, 0.99),
    ]  # fmt: skip
    found = choose(grid)
    assert found.cell is grid[4] and found.features == 68
    assert found.by_loss is grid[2] and found.loss_is_no_guide
    cost = regret(grid, found.cell)
    assert cost.lost == pytest.approx(0.04) and cost.steps == 1
    with pytest.raises(DataError, match="no cell has an agreement"):
        choose([grid[2]])
