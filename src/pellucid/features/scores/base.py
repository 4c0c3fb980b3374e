"""What a score is: a figure with its interval, from an explanation and held-out contexts."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float

from pellucid.core.errors import ConfigError
from pellucid.features.explain.contexts import Evidence

Z95 = 1.959964
"""97.5 % quantile of the normal distribution."""


@dataclass(frozen=True)
class Score:
    """A figure with its 95 % interval."""

    value: float
    low: float
    high: float
    n: int
    """Judgements (detection, fuzzing), contexts (embedding, surprisal, simulation) or prompts (intervention)."""


class Scorer(ABC):
    """Scores explanations of latents; deterministic for a seed."""

    name: str

    @abstractmethod
    def score(self, explanation: str, evidence: Evidence) -> Score:
        """Return the score of an explanation on the held-out contexts of a latent."""


def wilson(right: Bool[np.ndarray, " n"]) -> Score:
    """Return the share of True with Wilson's 95 % interval: (p + z^2/2n -+ z sqrt(p(1-p)/n + z^2/4n^2)) / (1 + z^2/n)."""
    n = len(right)
    if n == 0:
        raise ConfigError("a score needs one judgement or more, found none")
    p = float(right.mean())
    middle, scale = p + Z95**2 / (2 * n), 1 + Z95**2 / n
    half = Z95 * math.sqrt(p * (1 - p) / n + Z95**2 / (4 * n * n))
    return Score(p, max(0.0, (middle - half) / scale), min(1.0, (middle + half) / scale), n)


def auroc(positive: Float[np.ndarray, " n"], negative: Float[np.ndarray, " m"]) -> Score:
    """Return P(a positive's value exceeds a negative's) + P(equal) / 2, with DeLong's 95 % interval.

    Variance: Var_i(mean_j w_ij) / n + Var_j(mean_i w_ij) / m, w_ij = [x_i > y_j] + [x_i = y_j] / 2.
    """
    if not len(positive) or not len(negative):
        raise ConfigError(f"an AUROC needs values of both kinds, found {len(positive)} and {len(negative)}")
    wins = (positive[:, None] > negative) + 0.5 * (positive[:, None] == negative)
    value = float(wins.mean())
    variance = sum(float(part.var(ddof=1)) / len(part) for part in (wins.mean(axis=1), wins.mean(axis=0)) if len(part) > 1)
    half = Z95 * math.sqrt(variance)
    return Score(value, max(0.0, value - half), min(1.0, value + half), len(positive) + len(negative))
