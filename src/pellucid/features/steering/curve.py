"""The shape of a response over strengths: where it rises at every step, and where the host breaks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Shape:
    """What a curve does on both sides of strength 0."""

    monotone_from: float
    monotone_to: float
    """The stretch of strengths round 0 over which the response rises at every step."""
    broken_below: float | None
    broken_above: float | None
    """The nearest strengths to 0, downwards and upwards, at which the host is broken; None if not reached."""
    monotone: bool
    """True if the response rises at every step between the broken strengths."""


def with_zero(strengths: Sequence[float]) -> list[float]:
    """Return the strengths in order, 0 among them."""
    return sorted({0.0, *map(float, strengths)})


def shape(strengths: Sequence[float], response: Sequence[float], broken: Sequence[bool]) -> Shape:
    """Return the shape of a response over sorted strengths that hold 0."""
    zero, n = list(strengths).index(0.0), len(strengths)
    first = last = zero
    while last + 1 < n and response[last + 1] > response[last]:
        last += 1
    while first > 0 and response[first - 1] < response[first]:
        first -= 1
    below = max((i for i in range(zero) if broken[i]), default=None)
    above = min((i for i in range(zero + 1, n) if broken[i]), default=None)
    reaches = first <= (0 if below is None else below + 1) and last >= (n if above is None else above) - 1
    ends = (None if below is None else strengths[below], None if above is None else strengths[above])
    return Shape(strengths[first], strengths[last], *ends, reaches)
