"""Real Jordan normal form of the recurrent map, with near eigenvalues merged."""

from __future__ import annotations

import numpy as np
from jaxtyping import Complex, Float

TOLERANCE = 0.3
WORST_CONDITION = 1e8


def jordan_basis(w: Float[np.ndarray, "n n"], tolerance: float = TOLERANCE) -> Float[np.ndarray, "n n"] | None:
    """Return S with S W S^-1 near real Jordan form; None if no well-conditioned basis was found.

    Eigenvalues nearer than the tolerance are merged to their mean. Chains are built in the invariant subspace of each
    group, from the null spaces of powers of W - lambda; of a complex pair one is used, its chain vectors split into
    sqrt(2) times real and imaginary part, which gives blocks [[re, im], [-im, re]].
    """
    columns: list[np.ndarray] = []
    for value, count in _groups(np.linalg.eigvals(w).astype(complex), tolerance):
        if value.imag < -1e-9:
            continue
        for vector in _chains(w, value, count, tolerance).T:
            if abs(value.imag) <= 1e-9:
                columns.append(vector.real)
            else:
                columns += [np.sqrt(2) * vector.real, np.sqrt(2) * vector.imag]
    if len(columns) != len(w):
        return None
    p = np.stack(columns, 1)
    return np.linalg.inv(p) if np.linalg.cond(p) < WORST_CONDITION else None


def _groups(values: Complex[np.ndarray, " n"], tolerance: float) -> list[tuple[complex, int]]:
    """Return means and sizes of groups of near eigenvalues; groups of complex pairs come as pairs themselves."""
    left = sorted(values.tolist(), key=lambda v: (-abs(v), v.real, v.imag))
    groups: list[list[complex]] = []
    while left:
        group = [left.pop(0)]
        while True:
            near = [v for v in left if min(abs(v - member) for member in group) < tolerance]
            if not near:
                break
            for v in near:
                group.append(v)
                left.remove(v)
        groups.append(group)
    means = [(complex(np.mean(group)), len(group)) for group in groups]
    return [(m if abs(m.imag) > 1e-9 else complex(m.real), count) for m, count in means]


def _chains(w: np.ndarray, value: complex, count: int, tolerance: float) -> Complex[np.ndarray, "n m"]:
    """Return chain vectors as columns, each chain as N^{k-1} v, ..., N v, v with N = W - lambda."""
    shifted = w - value * np.eye(len(w))
    space = np.linalg.svd(np.linalg.matrix_power(shifted, count))[2].conj().T[:, -count:]
    nilpotent = space.conj().T @ shifted @ space
    kernels = [np.zeros((count, 0), complex)]
    power = np.eye(count)
    for _ in range(count):
        power = power @ nilpotent
        kernels.append(_null_space(power, tolerance))
    kernels[-1] = np.eye(count, dtype=complex)
    chains: list[list[np.ndarray]] = []
    for k in range(count, 0, -1):
        taken = [chain[len(chain) - k] for chain in chains if len(chain) >= k]  # N^{len-k} v lies in ker N^k
        for v in kernels[k].T:
            known = np.stack([*kernels[k - 1].T, *taken], 1) if len(taken) + kernels[k - 1].shape[1] else None
            if sum(map(len, chains)) + k <= count and (known is None or _outside(v, known)):
                chain = [v]
                for _ in range(k - 1):
                    chain.append(nilpotent @ chain[-1])
                chains.append(chain)
                taken.append(v)
    vectors = [vector for chain in chains for vector in reversed(chain)]
    return space @ np.stack(vectors, 1)


def _null_space(matrix: np.ndarray, tolerance: float) -> np.ndarray:
    _, singular, rows = np.linalg.svd(matrix)
    return rows.conj().T[:, singular < tolerance]


def _outside(vector: np.ndarray, known: np.ndarray) -> bool:
    """Say whether a unit vector has a clear part outside the span of the columns."""
    projected = known @ np.linalg.lstsq(known, vector, rcond=None)[0]
    return bool(np.linalg.norm(vector - projected) > 0.1)
