"""Integer lattices in hidden space: h = z A + b with whole z.

`linear_lattice` takes the vectors W^k V of the recurrent map, `gcd_lattice` differences of hidden states of any network;
both are brought to a basis by a Euclidean algorithm for real vectors, and made short by LLL (Lenstra, Lenstra, Lovasz
1982). Of two lattices the one with the smaller description length is kept.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

DELTA = 0.75
PRECISION = 0.01
LARGEST_RANK = 4


@dataclass(frozen=True)
class Lattice:
    """h = z A + b: basis vectors are the rows of A [r, s]."""

    basis: Float[np.ndarray, "r s"]
    origin: Float[np.ndarray, " s"]

    def coordinates(self, hidden: Float[np.ndarray, "n s"]) -> Int[np.ndarray, "n r"]:
        """Return z, rounded, of the nearest points by least squares."""
        solution = np.linalg.lstsq(self.basis.T, (hidden - self.origin).T, rcond=None)[0]
        return np.rint(solution.T).astype(np.int64)

    def description_length(self, hidden: Float[np.ndarray, "n s"]) -> float:
        """Return mean log2(1 + |z|) + mean log2(1 + |h - (z A + b)| / 0.01), in bits a number."""
        z = self.coordinates(hidden)
        error = np.abs(hidden - z @ self.basis - self.origin)
        return float(np.log2(1 + np.abs(z)).mean() + np.log2(1 + error / PRECISION).mean())

    def error(self, hidden: Float[np.ndarray, "n s"]) -> float:
        """Return the largest distance of a coordinate from a whole number."""
        exact = np.linalg.lstsq(self.basis.T, (hidden - self.origin).T, rcond=None)[0]
        return float(np.abs(exact - np.rint(exact)).max())


def lll(basis: Float[np.ndarray, "r s"], delta: float = DELTA) -> Float[np.ndarray, "r s"]:
    """Return an LLL-reduced basis of the same lattice: size-reduced, and |b*_k|^2 >= (delta - mu^2) |b*_{k-1}|^2."""
    basis = basis.astype(float).copy()
    k = 1
    while k < len(basis):
        for j in range(k - 1, -1, -1):
            _, mu = _orthogonal(basis)
            basis[k] -= np.rint(mu[k, j]) * basis[j]
        star, mu = _orthogonal(basis)
        norms = (star**2).sum(1)
        if norms[k] >= (delta - mu[k, k - 1] ** 2) * norms[k - 1]:
            k += 1
        else:
            basis[[k, k - 1]] = basis[[k - 1, k]]
            k = max(k - 1, 1)
    return basis


def _orthogonal(basis: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    star, mu = np.zeros_like(basis), np.eye(len(basis))
    for i, vector in enumerate(basis):
        star[i] = vector
        for j in range(i):
            norm = star[j] @ star[j]
            mu[i, j] = vector @ star[j] / norm if norm > 0 else 0.0
            star[i] -= mu[i, j] * star[j]
    return star, mu


def reduce_integer(basis: Int[np.ndarray, "r a"]) -> Int[np.ndarray, "r a"]:
    """Return the LLL-reduced basis of an integer lattice."""
    return np.rint(lll(basis.astype(float))).astype(np.int64)


def euclid(generators: Float[np.ndarray, "g s"], noise: float) -> Float[np.ndarray, "r s"]:
    """Return a basis of the lattice that real vectors span, by Euclid's algorithm on vectors.

    The longest vector is reduced by the shorter ones until nothing is longer than `noise` but an independent set; a
    remainder of at most `noise` counts as 0. After each vector the basis is fitted to all so far, so that their noise
    averages out instead of adding up.
    """
    basis: list[np.ndarray] = []
    ordered = np.array(sorted(generators.astype(float), key=np.linalg.norm)).reshape(generators.shape)
    for i, vector in enumerate(ordered):
        _insert(basis, vector.copy(), noise, 0)
        _refit(basis, ordered[: i + 1], noise)
    return lll(np.array(basis)) if basis else np.zeros((0, generators.shape[1]))


def _refit(basis: list[np.ndarray], vectors: np.ndarray, noise: float) -> None:
    """Move a basis to the least squares solution of vectors = z basis, z its own whole coordinates, if that explains all."""
    if not basis or len(vectors) <= len(basis):
        return
    z = np.rint(np.linalg.lstsq(np.array(basis).T, vectors.T, rcond=None)[0].T)
    better, _, rank, _ = np.linalg.lstsq(z, vectors, rcond=None)
    if rank == len(basis) and np.linalg.norm(vectors - z @ better, axis=1).max() <= noise:
        basis[:] = list(better)


def _insert(basis: list[np.ndarray], vector: np.ndarray, noise: float, depth: int) -> None:
    """Put a vector into a basis; where it is a fraction of what is there, the basis gets finer."""
    if depth > 60:
        return
    if basis:
        stacked = np.array(basis)
        exact = np.linalg.lstsq(stacked.T, vector, rcond=None)[0]
        outside = vector - exact @ stacked
        vector = vector - np.rint(exact) @ stacked
        if np.linalg.norm(vector) <= noise:
            return
        if np.linalg.norm(outside) <= noise:  # dependent, but between lattice points
            fraction = np.abs(exact - np.rint(exact))
            swapped = int(fraction.argmax())
            old, basis[swapped] = basis[swapped], vector
            _insert(basis, old, noise, depth + 1)
            return
    if np.linalg.norm(vector) > noise:
        basis.append(vector)


def gcd_lattice(hidden: Float[np.ndarray, "n s"], origin: Float[np.ndarray, " s"], noise: float) -> Lattice | None:
    """Return the lattice through `origin` that the differences of hidden states span; None if none of rank 4 or less."""
    differences = hidden - origin
    rank = int((np.linalg.svd(differences, compute_uv=False) > noise * np.sqrt(len(hidden))).sum())
    if not 0 < rank <= LARGEST_RANK:
        return None
    basis = euclid(differences, noise)
    return Lattice(basis, origin) if len(basis) == rank else None


def linear_lattice(
    before: Float[np.ndarray, "n s"], x: Float[np.ndarray, "n i"], after: Float[np.ndarray, "n s"], noise: float
) -> Lattice | None:
    """Return the lattice of W^k V for the recurrent map h' = W h + V x + b fitted by least squares (all inputs).

    With whole inputs the states that can be reached lie in it. The origin is the mean residual.
    """
    design = np.concatenate([before, x, np.ones((len(x), 1))], 1)
    solution = np.linalg.lstsq(design, after, rcond=None)[0]
    n_state = before.shape[1]
    w, vectors = solution[:n_state], [solution[n_state:-1]]
    for _ in range(2 * n_state):
        vectors.append(vectors[-1] @ w)
    basis = euclid(np.concatenate(vectors), noise)
    if not 0 < len(basis) <= LARGEST_RANK:
        return None
    coordinates = np.linalg.lstsq(basis.T, (after - after[0]).T, rcond=None)[0].T
    residual = after - after[0] - np.rint(coordinates) @ basis
    return Lattice(basis, after[0] + residual.mean(0))


def shorter(lattices: list[Lattice | None], hidden: Float[np.ndarray, "n s"]) -> Lattice | None:
    """Return the lattice that describes the hidden states in the fewest bits."""
    found = [lattice for lattice in lattices if lattice is not None]
    return min(found, key=lambda lattice: lattice.description_length(hidden)) if found else None
