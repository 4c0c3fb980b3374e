"""Targets that name the largest or the smallest column."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations

from pellucid.programs.language.expression import Call, Expression, call
from pellucid.programs.regression.table import TOLERATED, Table


def rankings(table: Table) -> Iterator[Expression]:
    """Yield arg max and arg min over all columns, or all but one, plus a constant; ties go to the first column."""
    n = len(table.names)
    for size in (n, n - 1):
        for kept in combinations(range(n), size) if size >= 3 else ():
            columns = table.columns[:, kept]
            arguments = tuple(table.variables[i] for i in kept)
            for operator, place in (("argmax", columns.argmax(1)), ("argmin", columns.argmin(1))):
                shift = int(table.target[0] - place[0])
                if table.share_wrong(table.target != place + shift) <= TOLERATED:
                    ranked = Call(operator, arguments)
                    yield call("add", ranked, shift) if shift else ranked
