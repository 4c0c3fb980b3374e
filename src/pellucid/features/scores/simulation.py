"""Simulation: how well do activations predicted from the explanation follow the true ones?"""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from pellucid.features.explain.contexts import Evidence
from pellucid.features.scores.base import Score, Scorer
from pellucid.features.scores.judges import Judge
from pellucid.features.steering.intervals import bootstrap


class Simulation(Scorer):
    """Pearson correlation of predicted and true codes over all tokens of the held-out contexts (2410.13928).

    r = cov(s, a) / sqrt(var(s) var(a)); 0 where the prediction is the same everywhere. Interval: bootstrap over contexts.
    """

    name = "simulation"

    def __init__(self, judge: Judge, seed: int = 0) -> None:
        self.judge, self.seed = judge, seed

    def score(self, explanation: str, evidence: Evidence) -> Score:
        """Return the correlation; n counts contexts."""
        sums = []
        for context in evidence.held_out.all:
            predicted, true = self.judge.simulates(explanation, context), context.codes.astype(np.float64)
            sums.append([len(true), predicted.sum(), true.sum(), predicted @ predicted, true @ true, predicted @ true])
        table = torch.tensor(np.array(sums, np.float64))
        found = bootstrap(len(table), lambda draws: pearson(_total(table, draws)), seed=self.seed)
        return Score(found.value, found.low, found.high, found.n)


def pearson(sums: Float[Tensor, "draws 6"]) -> Float[Tensor, " draws"]:
    """Return correlations from rows of n, sum s, sum a, sum s^2, sum a^2, sum s a; 0 where one of them does not vary."""
    n, s, a, ss, aa, sa = sums.double().unbind(-1)
    variances = (n * ss - s * s).clamp_min(0) * (n * aa - a * a).clamp_min(0)
    return torch.where(variances > 1e-12 * (n * n), (n * sa - s * a) / variances.sqrt().clamp_min(1e-300), 0.0)


def _total(table: Float[Tensor, "n 6"], draws: Int[Tensor, "draws n"]) -> Float[Tensor, "draws 6"]:
    """Sum the rows of each draw, by how often it holds each: [draws, n] counts @ [n, 6]."""
    counts = torch.zeros(len(draws), len(table), dtype=table.dtype)
    counts.scatter_add_(1, draws, torch.ones_like(draws, dtype=table.dtype))
    return counts @ table
