"""Whitening: hidden states with unit second moments in every direction they use."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

TOLERANCE = 0.1


def whitening(hidden: Float[np.ndarray, "m s"], tolerance: float = TOLERANCE) -> Float[np.ndarray, "s s"]:
    """Return S = C^(-1/2), symmetric, with C = mean of h h^T over all steps, not centred.

    Eigenvalues of C below the tolerance count as 1, so that directions without variance are not blown up.
    """
    values, vectors = np.linalg.eigh(hidden.T @ hidden / len(hidden))
    values = np.where(values < tolerance, 1.0, values)
    return (vectors / np.sqrt(values)) @ vectors.T
