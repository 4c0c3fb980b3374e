"""Functions of one integer: affine, // and %, thresholds, abs, min, max, and tables as the last resort."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
from jaxtyping import Int

from pellucid.programs.language.expression import Constant, Expression, Lookup, Variable, bits, call, evaluate, linear

Shape = Callable[[Expression], Expression]
LARGEST_PERIOD = 64
S = Variable("s")


def scalar_function(values: Int[np.ndarray, " m"], target: Int[np.ndarray, " m"], table: str | None = None) -> Shape | None:
    """Return the shortest known function with target = g(values); None if none fits.

    With `table`, a literal table of that name is the last resort.
    """
    order = np.argsort(values, kind="stable")
    values, target = values[order], target[order]
    fitting = [g for g in _candidates(values, target) if np.array_equal(_apply(g, values), target)]
    if fitting:
        return min(fitting, key=lambda g: bits(g(S)))
    if table is None:
        return None
    return _table(values, target, table)


def _apply(g: Shape, values: np.ndarray) -> np.ndarray:
    return np.broadcast_to(np.asarray(evaluate(g(S), {"s": values})), values.shape)


def _table(values: np.ndarray, target: np.ndarray, name: str) -> Shape:
    first = np.unique(values, return_index=True)[1]
    entries = tuple(((int(values[i]),), int(target[i])) for i in first)
    return lambda s: Lookup(name, entries, (s,))


def _candidates(values: np.ndarray, target: np.ndarray) -> Iterator[Shape]:
    levels = np.unique(target)
    yield lambda s: Constant(int(target[0]))
    yield from _affine(values, target)
    yield from _remainders(values, target)
    yield from _quotients(values, target)
    if len(levels) == 2:
        yield from _two_valued(values, target, int(levels[0]), int(levels[1]))
    yield from _piecewise(values, target)
    if len(levels) == 3:
        yield from _signs(values, target)


def _affine(values: np.ndarray, target: np.ndarray) -> Iterator[Shape]:
    run = int(values[-1] - values[0])
    if run and (int(target[-1]) - int(target[0])) % run == 0:
        slope = (int(target[-1]) - int(target[0])) // run
        intercept = int(target[0]) - slope * int(values[0])
        yield lambda s: linear([slope], [s], intercept)


def _remainders(values: np.ndarray, target: np.ndarray) -> Iterator[Shape]:
    low, high = int(target.min()), int(target.max())
    if low < 0 or high > LARGEST_PERIOD:
        return
    for n in (high + 1, high + 2):
        if n < 2:
            continue
        for sign in (1, -1):
            shift = (int(target[0]) - sign * int(values[0])) % n
            shift = shift - n if shift > n // 2 and shift != n - shift else shift
            yield lambda s, n=n, sign=sign, shift=shift: call("mod", linear([sign], [s], shift), n)  # type: ignore[misc]


def _quotients(values: np.ndarray, target: np.ndarray) -> Iterator[Shape]:
    if np.ptp(target) < 1 or np.any(np.diff(target) < 0):
        return
    for n in range(2, min(LARGEST_PERIOD, int(np.ptp(values)) + 2)):
        for shift in range(-n + 1, n):
            if np.array_equal((values + shift) // n, target):
                yield lambda s, n=n, shift=shift: call("floordiv", linear([1], [s], shift), n)  # type: ignore[misc]
                return


def _two_valued(values: np.ndarray, target: np.ndarray, low: int, high: int) -> Iterator[Shape]:
    for truth, other, holds in ((high, low, target == high), (low, high, target == low)):
        for condition in _conditions(values, holds):
            if (truth, other) == (1, 0):
                yield condition
            else:
                yield lambda s, c=condition, a=truth, b=other: call("if", c(s), a, b)  # type: ignore[misc]


def _conditions(values: np.ndarray, holds: np.ndarray) -> Iterator[Shape]:
    inside = np.unique(values[holds])
    low, high = int(inside[0]), int(inside[-1])
    if len(inside) == 1:
        yield lambda s: call("eq", s, low)
    yield lambda s: call("ge", s, low)
    yield lambda s: call("le", s, high)
    yield lambda s: call("and", call("ge", s, low), call("le", s, high))
    for n in range(2, min(LARGEST_PERIOD, int(np.ptp(values)) + 1)):
        residues = np.unique(inside % n)
        if len(residues) == 1:
            yield lambda s, n=n: call("eq", call("mod", s, n), int(inside[0]) % n)  # type: ignore[misc]


def _piecewise(values: np.ndarray, target: np.ndarray) -> Iterator[Shape]:
    low, high = int(target.min()), int(target.max())
    for bend in np.unique(values[np.flatnonzero((target == low) | (target == high))])[:200]:
        c, level = int(bend), int(target[np.flatnonzero(values == bend)[0]])
        yield lambda s, c=c, d=level: linear([1], [call("abs", linear([1], [s], -c))], d)  # type: ignore[misc]
        yield lambda s, c=c, d=level: linear([-1], [call("abs", linear([1], [s], -c))], d)  # type: ignore[misc]
    for slope in (1, -1):
        for shift in sorted({int(v) for v in (target - slope * values)[[0, -1, len(values) // 2]]}):
            line = [slope], shift
            yield lambda s, line=line: call("max", linear(line[0], [s], line[1]), low)  # type: ignore[misc]
            yield lambda s, line=line: call("min", linear(line[0], [s], line[1]), high)  # type: ignore[misc]
            yield lambda s, line=line: call("min", call("max", linear(line[0], [s], line[1]), low), high)  # type: ignore[misc]


def _signs(values: np.ndarray, target: np.ndarray) -> Iterator[Shape]:
    middle = int(np.unique(target)[1])
    inside = values[target == middle]
    for up in (1, -1):
        ends = (int(inside.min()), int(inside.max()))
        above, below = (middle + up, middle - up)
        yield lambda s, e=ends, a=above, b=below: call(  # type: ignore[misc]
            "if", call("lt", s, e[0]), b, call("if", call("le", s, e[1]), middle, a)
        )
