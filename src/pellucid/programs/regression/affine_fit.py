"""Exact affine targets: over the integers, and modulo a prime."""

from __future__ import annotations

import numpy as np

from pellucid.programs.language.expression import Expression, call, linear
from pellucid.programs.regression.table import Table

LARGEST_MODULUS = 64


def affine(table: Table) -> Expression | None:
    """Return the affine function with integer coefficients nearest in least squares; None if the target is not one.

    Fractions belong to real-valued systems (`programs.affine`): with whole columns and targets, // says the same without them.
    """
    ones = np.ones((len(table.target), 1))
    design = np.concatenate([table.columns, ones], 1).astype(float)
    solution = np.linalg.lstsq(design, table.target.astype(float), rcond=None)[0]
    near = np.rint(solution)
    if np.abs(near - solution).max() > 0.02:
        return None
    return linear([int(value) for value in near[:-1]], table.variables, int(near[-1]))


def affine_modulo(table: Table) -> Expression | None:
    """Return (w . columns + c) % p for a prime p just above the largest target; None if the target is no such form.

    For p = 2 these are the affine forms over GF(2): parities of any number of bits.
    """
    if table.target.min() < 0 or not 1 <= table.target.max() < LARGEST_MODULUS:
        return None
    p = int(table.target.max()) + 1
    if any(p % d == 0 for d in range(2, p)):
        return None
    solution = _solve_modulo(np.concatenate([table.columns, np.ones((len(table.target), 1), np.int64)], 1), table.target, p)
    if solution is None:
        return None
    weights = [w - p if w > p // 2 and p > 2 else w for w in solution]
    return call("mod", linear(weights[:-1], table.variables, weights[-1]), p)


def _solve_modulo(rows: np.ndarray, target: np.ndarray, p: int) -> list[int] | None:
    """Gaussian elimination over the field of p elements on up to 400 points; free unknowns are 0."""
    work = np.concatenate([rows, target[:, None]], 1)[:400] % p
    n = rows.shape[1]
    pivots: list[int] = []
    for column in range(n):
        at = len(pivots)
        found = np.flatnonzero(work[at:, column])
        if not len(found):
            continue
        work[[at, at + found[0]]] = work[[at + found[0], at]]
        work[at] = work[at] * pow(int(work[at, column]), -1, p) % p
        others = np.arange(len(work)) != at
        work[others] = (work[others] - work[others, column : column + 1] * work[at]) % p
        pivots.append(column)
    if work[len(pivots) :, n].any():
        return None
    solution = [0] * n
    for i, column in enumerate(pivots):
        solution[column] = int(work[i, n])
    return solution
