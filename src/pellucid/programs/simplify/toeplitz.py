"""Toeplitz normalisation: what Jordan form leaves free is used to bring inputs to (0, ..., 0, 1)."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

TOLERANCE = 0.3
SMALLEST_INPUT = 1e-3


def blocks(w: Float[np.ndarray, "n n"], tolerance: float = TOLERANCE) -> list[slice] | None:
    """Return the real Jordan blocks of a matrix; None if it is not within the tolerance of real Jordan form.

    A diagonal entry with complex partners is no block of this kind and left out.
    """
    if not tolerance < 0.5:
        raise ValueError(f"tolerance must be below 1/2, got {tolerance}: 0 and 1 could not be told apart")
    n, start, found = len(w), 0, []
    form = np.zeros_like(w)
    for i in range(n):
        last = i == n - 1 or abs(w[i, i + 1] - 1) > tolerance or abs(w[i, i] - w[i + 1, i + 1]) > tolerance
        if last:
            block = slice(start, i + 1)
            form[block, block] = np.diag(np.full(i + 1 - start, np.diag(w)[block].mean())) + np.eye(i + 1 - start, k=1)
            found.append(block)
            start = i + 1
    pairs = _complex_pairs(w, tolerance)
    for i in pairs:
        form[i : i + 2, i : i + 2] = w[i : i + 2, i : i + 2]
    if np.abs(w - form).max() > tolerance:
        return None
    inside = {j for i in pairs for j in (i, i + 1)}
    return [block for block in found if not inside & set(range(block.start, block.stop))]


def _complex_pairs(w: np.ndarray, tolerance: float) -> list[int]:
    return [i for i in range(len(w) - 1) if w[i, i + 1] * w[i + 1, i] < -(tolerance**2)]


def toeplitz_basis(
    w: Float[np.ndarray, "n n"], v: Float[np.ndarray, "n i"], tolerance: float = TOLERANCE
) -> Float[np.ndarray, "n n"] | None:
    """Return S that commutes with W's real Jordan blocks and makes each block's input (0, ..., 0, 1).

    In each block S is the inverse of the upper triangular Toeplitz matrix whose last column is the block's input column, of
    the input with the largest last entry.
    """
    found = blocks(w, tolerance)
    if found is None:
        return None
    s = np.eye(len(w))
    for block in found:
        part = v[block]
        column = part[:, np.abs(part[-1]).argmax()]
        if abs(column[-1]) < SMALLEST_INPUT:
            continue
        size = len(column)
        t = sum(column[size - 1 - k] * np.eye(size, k=k) for k in range(size))
        s[block, block] = np.linalg.inv(np.asarray(t))
    return s
