"""The sequences that a program is checked on: fresh random ones of three lengths, and corners of the input range."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Int

from pellucid.programs.reference import Reference
from pellucid.programs.tasks.base import InputDomain

AT_TRAINING_LENGTH, MEDIUM, LONG = 10_000, (1_000, 50), (200, 200)
SEED = 2**31 - 1


@dataclass(frozen=True)
class Trials:
    """Inputs [n, t, i] by name."""

    training: Int[np.ndarray, "n t i"]
    medium: Int[np.ndarray, "m k i"]
    long: Int[np.ndarray, "l j i"]
    corners: Int[np.ndarray, "c t i"]


def trials(domain: InputDomain, reference: Reference, share: float = 1.0) -> Trials:
    """Return fresh sequences: 10,000 of the training length, 1,000 of length 50, 200 of length 200, and corners.

    They come from the reference's own distribution, with a seed that nothing else uses. `share` scales the counts.
    """
    generator = torch.Generator().manual_seed(SEED)
    shapes = ((AT_TRAINING_LENGTH, domain.length), MEDIUM, LONG)
    short, medium, long = (reference.sample(max(1, int(n * share)), length, generator).numpy() for n, length in shapes)
    return Trials(short, medium, long, corners(domain))


def corners(domain: InputDomain) -> Int[np.ndarray, "c t i"]:
    """Return sequences at the ends of the range: constant, alternating, one impulse at each place, rising, falling."""
    steps, low, high = domain.length, domain.low, domain.high
    levels = sorted({low, high, (low + high) // 2, min(max(0, low), high), min(max(1, low), high)})
    t = np.arange(steps)
    rows = [np.full(steps, v) for v in levels]
    rows += [np.where(t % period < (period + 1) // 2, a, b) for a in levels for b in levels if a != b for period in (2, 3, 4)]
    rows += [np.where(t == place, high, levels[0]) for place in range(steps)] + [
        np.where(t == p, low, high) for p in range(steps)
    ]
    rising = low + t % (high - low + 1)
    rows += [rising, low + high - rising]
    unique = np.unique(np.array(rows, np.int64), axis=0)
    if domain.width == 1:
        return unique[:, :, None]
    other = [unique, unique[::-1], np.full_like(unique, high), np.full_like(unique, low)]
    return np.concatenate([np.stack([unique, *[o] * (domain.width - 1)], 2) for o in other])
