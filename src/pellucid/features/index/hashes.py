"""Samples that depend on the seed and on what is sampled, not on the order in which it is met."""

from __future__ import annotations

import numpy as np
from jaxtyping import Integer, UInt64


def mixed(seed: int, *parts: Integer[np.ndarray, " n"]) -> UInt64[np.ndarray, " n"]:
    """Return a hash of (seed, parts) for each entry, uniform over 64 bits.

    Each part is folded in by the finaliser of SplitMix64 (Steele, Lea & Flood 2014).
    """
    state = np.full(len(parts[0]), seed & 0xFFFFFFFFFFFFFFFF, dtype=np.uint64)
    for part in parts:
        state = _finalised(state + part.astype(np.uint64) + np.uint64(0x9E3779B97F4A7C15))
    return state


def _finalised(z: UInt64[np.ndarray, " n"]) -> UInt64[np.ndarray, " n"]:
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))
