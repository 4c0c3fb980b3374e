from __future__ import annotations

import pytest
import torch
from torch.testing import assert_close

from pellucid.core.errors import ConfigError, NumericsError
from pellucid.dictionaries.initial import geometric_median, initial_bias, random_unit_rows


def test_geometric_median_ignores_planted_outliers():
    generator = torch.Generator().manual_seed(0)
    centre = torch.linspace(-2, 2, 5)
    half = torch.randn(200, 5, generator=generator)
    points = torch.cat([centre + half, centre - half])  # symmetric: mean and geometric median are the centre
    assert_close(geometric_median(points).float(), centre, rtol=0, atol=1e-4)
    spoiled = torch.cat([points, torch.full((20, 5), 1e4)])
    assert (geometric_median(spoiled).float() - centre).abs().max() < 0.2
    assert (spoiled.mean(dim=0) - centre).abs().max() > 400


def test_geometric_median_has_the_least_summed_distance():
    points = torch.randn(50, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64).exp()
    median = geometric_median(points)
    best = (points - median).norm(dim=1).sum()
    for step in torch.randn(50, 3, generator=torch.Generator().manual_seed(1), dtype=torch.float64):
        assert (points - median - 0.01 * step).norm(dim=1).sum() >= best


def test_geometric_median_at_a_data_point_and_of_equal_points():
    points = torch.tensor([[0.0, 0.0], [1.0, 0.0], [-1.0, 0.0], [0.0, 1.0], [0.0, -1.0]])
    assert_close(geometric_median(points).float(), torch.zeros(2), rtol=0, atol=1e-6)
    assert_close(geometric_median(torch.full((4, 3), 2.5)).float(), torch.full((3,), 2.5))
    assert_close(geometric_median(torch.tensor([[1.0, 2.0]])).float(), torch.tensor([1.0, 2.0]))


def test_geometric_median_moves_with_the_points():
    points = torch.randn(80, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    assert_close(geometric_median(3 * points + 7), 3 * geometric_median(points) + 7, rtol=0, atol=1e-6)
    assert_close(geometric_median(points.flip(0)), geometric_median(points), rtol=0, atol=1e-7)


def test_unit_rows_are_unit_and_seeded():
    rows = random_unit_rows(30, 7, torch.Generator().manual_seed(4))
    assert_close(rows.norm(dim=1), torch.ones(30), rtol=0, atol=1e-6)
    assert torch.equal(rows, random_unit_rows(30, 7, torch.Generator().manual_seed(4)))


def test_refusals():
    with pytest.raises(ConfigError, match="needs a sample of activations"):
        initial_bias("geometric_median", None, 3)
    with pytest.raises(ConfigError, match="needs a sample of activations"):
        initial_bias("mean", torch.zeros(0, 3), 3)
    with pytest.raises(ConfigError, match="sample has width 4, the dictionary reads width 3"):
        initial_bias("mean", torch.zeros(2, 4), 3)
    with pytest.raises(NumericsError, match="not finite"):
        initial_bias("mean", torch.tensor([[float("nan"), 0.0]]), 2)
