"""Intervals for means and counts by the bootstrap."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from pellucid.core.errors import DataError
from pellucid.data.source import seeded

DRAWS = 2000
LEVEL = 0.95


@dataclass(frozen=True)
class Estimate:
    """A figure with its interval."""

    value: float
    low: float
    high: float
    n: int
    """What was resampled: prompts, positions or features."""

    def __str__(self) -> str:
        return f"{self.value:.3g} [{self.low:.3g}, {self.high:.3g}]"


def bootstrap(n: int, statistic: Callable[[Int[Tensor, "draws n"]], Float[Tensor, " draws"]], *, seed: int = 0) -> Estimate:
    """Return a statistic of n units with its 95 % percentile interval (Efron's bootstrap, 2,000 draws with replacement).

    `statistic` takes rows of indices of units and returns a number for each row. Raises DataError if n is 0.
    """
    if n < 1:
        raise DataError("an interval needs one unit or more, found none")
    draws = torch.randint(n, (DRAWS, n), generator=seeded("bootstrap", seed))
    found = statistic(draws).double()
    tail = (1 - LEVEL) / 2
    low, high = found.quantile(torch.tensor([tail, 1 - tail], dtype=torch.float64)).tolist()
    return Estimate(float(statistic(torch.arange(n).unsqueeze(0))[0]), low, high, n)


def mean_of(values: Float[Tensor, " n"], *, seed: int = 0) -> Estimate:
    """Return the mean with its 95 % bootstrap interval."""
    values = values.detach().cpu().double()
    return bootstrap(len(values), lambda draws: values[draws].mean(dim=1), seed=seed)
