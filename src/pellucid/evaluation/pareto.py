"""Trade-off curves: Pareto fronts, and ratios between two of them without extrapolation.

A point has a cost (active latents L0, or alive latents) and a loss (CE increase or KL); less is better in both.
A group's curve is the linear interpolation of its Pareto front, in linear units of both axes, as in Braun et al. 2024
(arXiv 2405.12241, appendix on Pareto curves). A group whose points are not monotone (a costlier dictionary with a
larger loss) is therefore represented by its non-dominated points alone; `Curve.dominated` names those left out.
On a convex trade-off the straight line lies above the true curve, so denser sweeps give slightly smaller losses.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from pellucid.core.errors import DataError, raise_all


@dataclass(frozen=True)
class Point:
    """One dictionary on a trade-off plot."""

    cost: float
    """What is spent: L0 or the number of alive latents."""
    loss: float
    """What is lost: CE increase or KL, in nats."""
    name: str = ""
    """The dictionary, for messages."""


@dataclass(frozen=True)
class Refusal:
    """A ratio that cannot be given, and why."""

    reason: str
    """One sentence, with the ranges."""


@dataclass(frozen=True)
class Ratio:
    """Values of two curves at the same places, and other / reference."""

    at: tuple[float, ...]
    """Where both were read: loss values, or cost values for `loss_ratio`."""
    reference: tuple[float, ...]
    """The reference's interpolated value at each place."""
    other: tuple[float, ...]
    """The other's interpolated value at each place."""

    @property
    def ratios(self) -> tuple[float, ...]:
        """other / reference at each place."""
        return tuple(b / a for a, b in zip(self.reference, self.other, strict=True))

    @property
    def mean(self) -> float:
        """Arithmetic mean of the ratios: the summary number of Braun et al. 2024."""
        return math.fsum(self.ratios) / len(self.at)


def front(points: Sequence[Point]) -> tuple[Point, ...]:
    """Return the points no other point beats, by rising cost and so by strictly falling loss.

    A point is beaten if another has no greater cost and no greater loss and is smaller in one; of equal points the
    first by name stays. Raises DataError for a cost or loss that is not finite.
    """
    problems = [
        f"point {p.name!r} has cost {p.cost} and loss {p.loss}, wanted finite numbers" for p in points if not _finite(p)
    ]
    raise_all(problems, DataError)
    kept: list[Point] = []
    for point in sorted(points, key=lambda p: (p.cost, p.loss, p.name)):
        if not kept or point.loss < kept[-1].loss:
            kept.append(point)
    return tuple(kept)


@dataclass(frozen=True)
class Curve:
    """A group's trade-off: its points and the linear interpolation of their Pareto front."""

    name: str
    points: tuple[Point, ...]
    cost_name: str = "L0"
    loss_name: str = "CE increase"

    @cached_property
    def front(self) -> tuple[Point, ...]:
        """The non-dominated points by rising cost."""
        return front(self.points)

    @property
    def dominated(self) -> tuple[Point, ...]:
        """The points the curve leaves out, in their given order."""
        kept = {id(point) for point in self.front}
        return tuple(point for point in self.points if id(point) not in kept)

    @property
    def cost_range(self) -> tuple[float, float]:
        """Least and greatest cost of the front; DataError if there is no point."""
        self._need_points()
        return self.front[0].cost, self.front[-1].cost

    @property
    def loss_range(self) -> tuple[float, float]:
        """Least and greatest loss of the front; DataError if there is no point."""
        self._need_points()
        return self.front[-1].loss, self.front[0].loss

    def cost_at(self, loss: float) -> float:
        """Interpolate the cost linearly as a function of the loss; DataError outside `loss_range`."""
        self._need_inside(loss, self.loss_range, self.loss_name)
        rising = self.front[::-1]
        return float(np.interp(loss, [p.loss for p in rising], [p.cost for p in rising]))

    def loss_at(self, cost: float) -> float:
        """Interpolate the loss linearly as a function of the cost; DataError outside `cost_range`."""
        self._need_inside(cost, self.cost_range, self.cost_name)
        return float(np.interp(cost, [p.cost for p in self.front], [p.loss for p in self.front]))

    def _need_points(self) -> None:
        if not self.points:
            raise DataError(f"'{self.name}' has no dictionary with both {self.cost_name} and {self.loss_name}")

    def _need_inside(self, value: float, limits: tuple[float, float], what: str) -> None:
        if not limits[0] <= value <= limits[1]:
            spans = f"{show(limits[0])} to {show(limits[1])}"
            raise DataError(
                f"{what} {show(value)} is outside the front of '{self.name}' ({spans}): curves are never extrapolated"
            )


def ratio_at_equal(reference: Curve, other: Curve, losses: Sequence[float] | None = None, n: int = 20) -> Ratio | Refusal:
    """Return cost(other) / cost(reference) at equal loss: "at equal CE increase, other needs x times the L0".

    `losses` are the loss values to read both fronts at; by default n evenly spaced ones over the range both fronts
    cover. Refuses if the ranges do not overlap, if a given loss lies outside the overlap, or if a cost is 0.
    """
    refusal = _no_points(reference, other)
    if refusal:
        return refusal
    at = _places(reference, other, reference.loss_range, other.loss_range, reference.loss_name, losses, n)
    if isinstance(at, Refusal):
        return at
    below = tuple(reference.cost_at(loss) for loss in at)
    return _positive(Ratio(at, below, tuple(other.cost_at(loss) for loss in at)), reference, other, reference.cost_name)


def loss_ratio(reference: Curve, other: Curve, costs: Sequence[float] | None = None, n: int = 20) -> Ratio | Refusal:
    """Return loss(other) / loss(reference) at equal cost; its mean is the paper's Pareto summary.

    Braun et al. 2024: 20 evenly spaced L0 values over the range both cover, linear interpolation of the CE increase,
    mean ratio to `local`. Refuses as `ratio_at_equal` does, and where a loss is 0 or below, which has no ratio.
    """
    refusal = _no_points(reference, other)
    if refusal:
        return refusal
    at = _places(reference, other, reference.cost_range, other.cost_range, reference.cost_name, costs, n)
    if isinstance(at, Refusal):
        return at
    below = tuple(reference.loss_at(cost) for cost in at)
    return _positive(Ratio(at, below, tuple(other.loss_at(cost) for cost in at)), reference, other, reference.loss_name)


def show(value: float) -> str:
    """Return a number for a sentence: four significant digits, whole with separators from 1,000 on."""
    return f"{value:,.0f}" if abs(value) >= 1000 or float(value).is_integer() else f"{value:.4g}"


def _finite(point: Point) -> bool:
    return math.isfinite(point.cost) and math.isfinite(point.loss)


def _no_points(*curves: Curve) -> Refusal | None:
    empty = [f"'{curve.name}'" for curve in curves if not curve.points]
    if not empty:
        return None
    return Refusal(f"{' and '.join(empty)} has no dictionary with both {curves[0].cost_name} and {curves[0].loss_name}")


def _places(
    reference: Curve,
    other: Curve,
    a: tuple[float, float],
    b: tuple[float, float],
    what: str,
    wanted: Sequence[float] | None,
    n: int,
) -> tuple[float, ...] | Refusal:
    """Where to read both curves: the wanted values, or n even ones over the overlap of the ranges a and b."""
    low, high = max(a[0], b[0]), min(a[1], b[1])
    spans = f"'{reference.name}' spans {show(a[0])} to {show(a[1])}, '{other.name}' spans {show(b[0])} to {show(b[1])}"
    if low > high:
        return Refusal(f"the ranges of {what} do not overlap ({spans}), and curves are never extrapolated")
    if wanted is None:
        # One common value is still exact: no interpolation over an empty range is needed.
        return (low,) if low == high else tuple(float(value) for value in np.linspace(low, high, n))
    outside = [value for value in wanted if not low <= value <= high]
    if outside or not wanted:
        names = ", ".join(f"{show(value)}" for value in outside) or "none given"
        return Refusal(f"{what} {names} is outside the range both fronts cover ({spans}), and curves are never extrapolated")
    return tuple(wanted)


def _positive(ratio: Ratio, reference: Curve, other: Curve, what: str) -> Ratio | Refusal:
    """The ratio if every value in it is above 0, else why there is none."""
    for curve, values in ((reference, ratio.reference), (other, ratio.other)):
        if min(values) <= 0:
            return Refusal(f"{what} of '{curve.name}' falls to {show(min(values))}; a ratio needs values above 0")
    return ratio
