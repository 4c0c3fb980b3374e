"""Linear algebra over the rationals."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction

import numpy as np

Row = Sequence[Fraction]


def matrix(rows: Sequence[Sequence[Fraction | int]], n_columns: int) -> np.ndarray:
    """Return an object array of Fractions, also with no rows."""
    result = np.empty((len(rows), n_columns), dtype=object)
    for i, row in enumerate(rows):
        for j, value in enumerate(row):
            result[i, j] = Fraction(value)
    return result


def combination(rows: Sequence[Row], target: Row) -> list[Fraction] | None:
    """Return c with sum_i c_i rows_i = target, exactly; None if there is none. Free coefficients are 0."""
    n, width = len(rows), len(target)
    table = [[rows[j][i] for j in range(n)] + [target[i]] for i in range(width)]
    pivots: list[int] = []
    at = 0
    for column in range(n):
        found = next((i for i in range(at, width) if table[i][column] != 0), None)
        if found is None:
            continue
        table[at], table[found] = table[found], table[at]
        scale = table[at][column]
        table[at] = [value / scale for value in table[at]]
        for i in range(width):
            if i != at and table[i][column] != 0:
                factor = table[i][column]
                table[i] = [a - factor * b for a, b in zip(table[i], table[at], strict=True)]
        pivots.append(column)
        at += 1
    if any(table[i][n] != 0 for i in range(at, width)):
        return None
    solution = [Fraction(0)] * n
    for i, column in enumerate(pivots):
        solution[column] = table[i][n]
    return solution


def inverse(square: np.ndarray) -> np.ndarray | None:
    """Return the inverse of a square matrix of Fractions; None if it is singular."""
    n = len(square)
    columns = []
    for j in range(n):
        unit = [Fraction(int(i == j)) for i in range(n)]
        column = combination([list(square[:, k]) for k in range(n)], unit)
        if column is None:
            return None
        columns.append(column)
    return matrix(columns, n).T if n else square


def near_combination(rows: Sequence[Row], target: Row, tolerance: float, largest: int) -> list[Fraction] | None:
    """Return c of fractions p/q with q <= largest and |sum_i c_i rows_i - target| <= tolerance everywhere; None if none."""
    wanted = np.array(target, dtype=float)
    if not rows:
        return [] if np.abs(wanted).max(initial=0) <= tolerance else None
    basis = np.array(rows, dtype=float).T
    solution = np.linalg.lstsq(basis, wanted, rcond=None)[0]
    near = [Fraction(float(value)).limit_denominator(largest) for value in solution]
    error = np.abs(basis @ np.array(near, dtype=float) - wanted).max(initial=0)
    return near if error <= tolerance else None
