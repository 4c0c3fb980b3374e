"""Minimal forms of Boolean tables (Quine 1952, McCluskey 1956)."""

from __future__ import annotations

from functools import reduce

import numpy as np

from pellucid.programs.language.expression import Expression, bits, call
from pellucid.programs.regression.table import Table

MOST_BITS = 8
Implicant = tuple[int, ...]
"""One entry a variable: 0 or 1 where it is asked for, 2 where it is free."""


def boolean_form(table: Table) -> Expression | None:
    """Return a short disjunctive form of a 0/1 target over 0/1 columns, or of its complement, whichever is shorter.

    Points that were not seen are free. None if the table is not Boolean, constant, or has more than 8 columns.
    """
    everything = np.concatenate([table.columns.ravel(), table.target])
    if not np.isin(everything, (0, 1)).all() or table.columns.shape[1] > MOST_BITS or not np.ptp(table.target):
        return None
    points = [tuple(int(v) for v in row) for row in table.columns]
    true = {point for point, value in zip(points, table.target, strict=True) if value}
    false = set(points) - true
    direct = _disjunction(_cover(true, false), table.variables)
    inverse = call("not", _disjunction(_cover(false, true), table.variables))
    return min((direct, inverse), key=bits)


def _cover(true: set[Implicant], false: set[Implicant]) -> list[Implicant]:
    """Return prime implicants that hold on all of `true` and none of `false`: essential ones, then greedily."""
    primes = {_widened(point, false, turn) for point in true for turn in range(len(point))}
    uncovered, chosen = set(true), []
    while uncovered:
        best = max(sorted(primes), key=lambda p: (sum(_holds(p, point) for point in uncovered), p.count(2)))
        chosen.append(best)
        uncovered = {point for point in uncovered if not _holds(best, point)}
    return chosen


def _widened(point: Implicant, false: set[Implicant], turn: int) -> Implicant:
    """Free one variable after the other, from `turn` on, as long as no false point is let in."""
    term = list(point)
    for i in range(len(point)):
        place = (i + turn) % len(point)
        kept, term[place] = term[place], 2
        if any(_holds(tuple(term), other) for other in false):
            term[place] = kept
    return tuple(term)


def _holds(term: Implicant, point: Implicant) -> bool:
    return all(asked in (2, value) for asked, value in zip(term, point, strict=True))


def _disjunction(terms: list[Implicant], variables: list[Expression]) -> Expression:
    products = []
    for term in terms:
        literals = [v if asked else call("not", v) for asked, v in zip(term, variables, strict=True) if asked != 2]
        products.append(reduce(lambda a, b: call("and", a, b), literals))
    return reduce(lambda a, b: call("or", a, b), products)
