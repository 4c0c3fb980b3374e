"""Whether dictionaries agree: between seeds, with a larger one, and after longer training."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from pellucid.core.errors import ConfigError
from pellucid.evaluation.recovery import match
from pellucid.evaluation.similarity import best_cosines, mmcs


@dataclass(frozen=True)
class Agreement:
    """How alike the live atoms of dictionaries are, mean over pairs."""

    matched: float
    """1 / M max over permutations of sum_i cos(D1_i, D2_pi(i)), M the smaller number (Fel et al. 2025, arXiv 2502.12892)."""
    mmcs: float
    """`mmcs` between them, mean of both directions."""
    shared: float
    """Share of the atoms of one with an atom of the other at a cosine above 0.9, mean of both directions."""


def agreement(dictionaries: list[Float[Tensor, "_ d"]]) -> Agreement:
    """Return the agreement of two or more sets of atoms: pass the live atoms alone, as dead ones are where they started.

    ConfigError if there are fewer than two sets or one is empty.
    """
    if len(dictionaries) < 2:
        raise ConfigError(f"agreement needs two dictionaries or more, got {len(dictionaries)}")
    pairs = list(combinations(dictionaries, 2))
    both = [(best_cosines(a, b), best_cosines(b, a)) for a, b in pairs]
    ordered = [(a, b) if len(a) >= len(b) else (b, a) for a, b in pairs]
    matched = [float(match(larger, smaller).cosines.mean()) for larger, smaller in ordered]
    return Agreement(
        sum(matched) / len(pairs),
        sum(float(one.mean() + other.mean()) / 2 for one, other in both) / len(pairs),
        sum(float((one > 0.9).double().mean() + (other > 0.9).double().mean()) / 2 for one, other in both) / len(pairs),
    )


def next_larger(smaller: Float[Tensor, "m d"], larger: Float[Tensor, "n d"], alive: Bool[Tensor, " m"] | None = None) -> float:
    """Return mmcs(smaller, larger): whether a dictionary's atoms are found again in the next larger one (Sharkey et al. 2022).

    All atoms count, as in the source, unless `alive` [m] marks those that do; NaN if it marks none.
    """
    atoms = smaller if alive is None else smaller[alive]
    return mmcs(atoms, larger) if len(atoms) else float("nan")


@dataclass(frozen=True)
class Doubling:
    """The undertraining control: the same dictionary after twice the steps."""

    change: float
    """|mmcs after twice the steps - mmcs|, from the truth (or from a reference) to the atoms."""
    moved: float
    """1 - mmcs from the atoms to those after twice the steps; needs no truth."""

    @property
    def undertrained(self) -> bool:
        """True if the first changed by 0.02 or more."""
        return self.change >= 0.02


def doubling(once: Float[Tensor, "m d"], twice: Float[Tensor, "m d"], truth: Float[Tensor, "f d"]) -> Doubling:
    """Return how much twice the steps change a dictionary; both from the same start on the same data."""
    return Doubling(abs(mmcs(truth, twice) - mmcs(truth, once)), 1 - mmcs(once, twice))


def live(firings: Float[Tensor, "n m"]) -> Bool[Tensor, " m"]:
    """Mark the latents with a positive code on any of the tokens [n, m]."""
    return torch.any(firings > 0, dim=0)
