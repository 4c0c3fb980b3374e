"""Pareto fronts and ratios with values known exactly."""

from __future__ import annotations

import random

import pytest

from pellucid.core.errors import DataError
from pellucid.evaluation.pareto import Curve, Point, Ratio, Refusal, front, loss_ratio, ratio_at_equal


def curve(name: str, *pairs: tuple[float | int, float | int]) -> Curve:
    return Curve(name, tuple(Point(float(x), float(y), f"{name}{i}") for i, (x, y) in enumerate(pairs)))


def test_front_equals_a_naive_search():
    generator = random.Random(0)
    for _ in range(50):
        points = [Point(float(generator.randrange(8)), float(generator.randrange(8)), str(i)) for i in range(12)]
        naive = {
            (p.cost, p.loss)
            for p in points
            if not any(q.cost <= p.cost and q.loss <= p.loss and (q.cost, q.loss) != (p.cost, p.loss) for q in points)
        }
        found = front(points)
        assert {(p.cost, p.loss) for p in found} == naive
        assert len(found) == len(naive)
        assert [p.cost for p in found] == sorted(p.cost for p in found)
        assert front(points[::-1]) == found


def test_front_refuses_numbers_that_are_not_finite_all_at_once():
    with pytest.raises(DataError, match=r"(?s)'a'.*'b'"):
        front([Point(float("nan"), 1.0, "a"), Point(1.0, float("inf"), "b"), Point(1.0, 1.0, "c")])


def test_interpolation_is_linear_in_linear_units():
    line = curve("a", (10, 0.4), (30, 0.2), (40, 0.1))
    assert line.cost_at(0.3) == pytest.approx(20)
    assert line.loss_at(20.0) == pytest.approx(0.3)
    assert line.cost_at(0.1) == 40
    assert line.loss_at(10.0) == 0.4


def test_curves_are_never_extrapolated():
    line = curve("a", (10, 0.4), (30, 0.2))
    with pytest.raises(DataError, match=r"CE increase 0.41 is outside the front of 'a' \(0.2 to 0.4\)"):
        line.cost_at(0.41)
    with pytest.raises(DataError, match=r"L0 31 is outside the front of 'a' \(10 to 30\)"):
        line.loss_at(31.0)


def test_a_curve_that_is_not_monotone_is_its_front():
    line = curve("a", (10, 0.4), (20, 0.5), (30, 0.2), (30, 0.3))
    assert [p.name for p in line.front] == ["a0", "a2"]
    assert [p.name for p in line.dominated] == ["a1", "a3"]
    assert line.loss_at(20.0) == pytest.approx(0.3)


def test_twice_the_latents_at_every_loss_is_a_ratio_of_two():
    e2e = curve("e2e", (10, 0.4), (20, 0.2), (40, 0.1))
    local = curve("local", (20, 0.4), (40, 0.2), (80, 0.1))
    found = ratio_at_equal(e2e, local)
    assert isinstance(found, Ratio)
    assert len(found.at) == 20 and found.at[0] == 0.1 and found.at[-1] == 0.4
    assert found.ratios == pytest.approx([2.0] * 20)
    assert found.mean == pytest.approx(2.0)
    back = ratio_at_equal(local, e2e)
    assert isinstance(back, Ratio) and back.mean == pytest.approx(0.5)


def test_ratio_reads_only_the_range_both_cover():
    found = ratio_at_equal(curve("a", (10, 0.4), (20, 0.2)), curve("b", (10, 0.3), (20, 0.1)))
    assert isinstance(found, Ratio)
    assert (found.at[0], found.at[-1]) == (0.2, 0.3)
    assert found.reference[0] == pytest.approx(20) and found.other[0] == pytest.approx(15)


def test_ratio_refuses_ranges_that_do_not_overlap_and_states_them():
    found = ratio_at_equal(curve("a", (10, 0.4), (20, 0.3)), curve("b", (10, 0.2), (20, 0.1)))
    assert isinstance(found, Refusal)
    assert "'a' spans 0.3 to 0.4" in found.reason and "'b' spans 0.1 to 0.2" in found.reason
    assert "never extrapolated" in found.reason


def test_ratio_refuses_a_wanted_value_outside_the_overlap():
    a, b = curve("a", (10, 0.4), (20, 0.2)), curve("b", (10, 0.3), (20, 0.1))
    inside = ratio_at_equal(a, b, [0.25])
    assert isinstance(inside, Ratio) and inside.ratios == pytest.approx([12.5 / 17.5])
    outside = ratio_at_equal(a, b, [0.25, 0.35])
    assert isinstance(outside, Refusal) and "0.35" in outside.reason and "0.25" not in outside.reason.split("(")[0]


def test_single_points_meet_in_the_one_value_both_cover():
    found = ratio_at_equal(curve("a", (10, 0.4), (30, 0.2)), curve("b", (10, 0.3)))
    assert isinstance(found, Ratio)
    assert found.at == (0.3,) and found.ratios == pytest.approx([0.5])


def test_paper_summary_is_the_mean_over_twenty_costs():
    local = curve("local", (50, 0.4), (300, 0.1))
    e2e = curve("e2e", (40, 0.206), (310, 0.044))
    found = loss_ratio(local, e2e)
    assert isinstance(found, Ratio)
    costs = [50 + 250 * i / 19 for i in range(20)]
    assert found.at == pytest.approx(costs)
    naive = [(0.206 - 0.162 * (c - 40) / 270) / (0.4 - 0.3 * (c - 50) / 250) for c in costs]
    assert found.mean == pytest.approx(sum(naive) / 20)


def test_no_ratio_of_a_loss_that_is_not_above_zero():
    found = loss_ratio(curve("a", (10, 0.4), (20, -0.01)), curve("b", (10, 0.3), (20, 0.1)))
    assert isinstance(found, Refusal) and "'a' falls to -0.01" in found.reason
    at_equal_loss = ratio_at_equal(curve("a", (10, 0.4), (20, -0.01)), curve("b", (10, 0.3), (20, -0.02)))
    assert isinstance(at_equal_loss, Ratio)


def test_an_empty_curve_is_named():
    found = ratio_at_equal(curve("a"), curve("b", (1, 1)))
    assert isinstance(found, Refusal) and "'a' has no dictionary with both L0 and CE increase" in found.reason
