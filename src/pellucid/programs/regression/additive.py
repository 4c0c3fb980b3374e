"""Sums of one function a column, each found as a table first: y = g_1(v_1) + g_2(v_2) + ..."""

from __future__ import annotations

import numpy as np

from pellucid.programs.language.expression import Expression, bits, call, linear
from pellucid.programs.regression.scalar import scalar_function
from pellucid.programs.regression.table import Table

MOST_VALUES = 120
"""Largest number of distinct values of all columns together."""


def additive(table: Table, name: str) -> Expression | None:
    """Return the sum of one function of each column; tables in it are called `name` + number. None if it is no sum."""
    values = [np.unique(column) for column in table.columns.T]
    if sum(len(v) for v in values) > MOST_VALUES or len(values) < 2:
        return None
    blocks = [(column[:, None] == v).astype(float) for column, v in zip(table.columns.T, values, strict=True)]
    solution = np.linalg.lstsq(np.concatenate(blocks, 1), table.target.astype(float), rcond=None)[0]
    pieces = np.split(solution, np.cumsum([len(v) for v in values])[:-1])
    terms, constant = [], 0.0
    for v, piece in zip(values, pieces, strict=True):
        base = piece[int(np.abs(v).argmin())]
        constant += base
        terms.append(np.rint(piece - base).astype(np.int64))
        if np.abs(piece - base - terms[-1]).max() > 0.2:
            return None
    return _written(table, values, terms, int(np.rint(constant)), name)


def _written(table: Table, values: list[np.ndarray], terms: list[np.ndarray], constant: int, name: str) -> Expression | None:
    """Write each term by a known function; what it adds at 0 is taken from the constant."""
    total: Expression | None = None
    for i, (v, term, variable) in enumerate(zip(values, terms, table.variables, strict=True)):
        if not term.any():
            continue
        added, written = _shortest(v, term, variable, f"{name}{i}")
        constant -= added
        total = written if total is None else call("add", total, written)
    return linear([1], [total], constant) if total is not None else None


def _shortest(v: np.ndarray, term: np.ndarray, variable: Expression, name: str) -> tuple[int, Expression]:
    """Return a shift and the shortest function of the variable that gives term + shift."""
    shifts = list(dict.fromkeys([0, -int(term.min()), -int(term.max())]))
    known = [(shift, g(variable)) for shift in shifts if (g := scalar_function(v, term + shift)) is not None]
    if known:
        return min(known, key=lambda pair: bits(pair[1]) + (3 if pair[0] else 0))
    shift = shifts[1] if len(shifts) > 1 else 0
    table = scalar_function(v, term + shift, name)
    assert table is not None
    return shift, table(variable)
