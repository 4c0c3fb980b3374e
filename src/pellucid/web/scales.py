"""Axes of a chart: from values to pixels, and round tick values."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

LOG_SPAN = 30.0
"""Positive values that span a larger factor than this are drawn on a log scale."""


@dataclass(frozen=True)
class Scale:
    """A linear or log10 map from [low, high] to pixels [start, stop]."""

    low: float
    high: float
    start: float
    stop: float
    log: bool = False

    def __call__(self, value: float) -> float:
        """Return the pixel of a value, rounded to a tenth."""
        low, high = self._bend(self.low), self._bend(self.high)
        return round(self.start + (self._bend(value) - low) / (high - low) * (self.stop - self.start), 1)

    def ticks(self, n: int = 5) -> list[float]:
        """Return about n round values inside the range."""
        if self.log:
            return _log_ticks(self.low, self.high, n)
        step = _round_step((self.high - self.low) / n)
        first = math.ceil(self.low / step - 1e-9)
        last = math.floor(self.high / step + 1e-9)
        return [round(i * step, 12) for i in range(first, last + 1)]

    def _bend(self, value: float) -> float:
        return math.log10(value) if self.log else value


def fit(values: Iterable[float], start: float, stop: float, zero: bool = False, log: bool | None = False) -> Scale:
    """Return a scale that covers the values with a little room.

    `zero` includes 0; `log` None means: log if all values are positive and span more than LOG_SPAN.
    """
    found = list(values)
    low, high = min(found), max(found)
    if log is None:
        log = low > 0 and high / low > LOG_SPAN
    if log:
        room = max((high / low) ** 0.05, 1.05)
        return Scale(low / room, high * room, start, stop, log=True)
    if zero:
        low, high = min(low, 0.0), max(high, 0.0)
    room = (high - low) * 0.06 or abs(high) * 0.1 or 1.0
    return Scale(0.0 if zero and low == 0 else low - room, high + room, start, stop)


def tick_text(value: float, ticks: Sequence[float] = ()) -> str:
    """Return a short tick label, in the unit of the greatest tick: 0.5M, 15k, 0.05, 1e-6."""
    size = abs(value)
    greatest = max(map(abs, ticks), default=size)
    for from_here, unit, letter in ((1e9, 1e9, "G"), (1e6, 1e6, "M"), (5e3, 1e3, "k")):
        if size and greatest >= from_here:
            return f"{value / unit:.4g}{letter}"
    if size and size < 1e-3:
        return f"{value:.0e}".replace("e-0", "e-")
    return f"{value:.6g}"


def _round_step(rough: float) -> float:
    power = 10.0 ** math.floor(math.log10(rough))
    return next(step * power for step in (1, 2, 2.5, 5, 10) if step * power >= rough * 0.999)


def _log_ticks(low: float, high: float, n: int) -> list[float]:
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    for steps in ((1, 2, 5), (1, 3), (1,)):
        ticks = [step * 10.0**power for power in powers for step in steps if low <= step * 10.0**power <= high]
        if len(ticks) <= n + 2:
            return ticks
    return ticks[:: math.ceil(len(ticks) / n)]
