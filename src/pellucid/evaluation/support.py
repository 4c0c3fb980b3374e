"""Whether latents fire where their features do: precision and recall of the support."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from pellucid.evaluation.recovery import Matching


@dataclass(frozen=True)
class Support:
    """Counts over tokens and true features."""

    both: int
    """Feature and its partner both active."""
    fired: int
    """Partner active."""
    active: int
    """Feature active, those without a partner among them."""

    @property
    def precision(self) -> float:
        """both / fired; NaN if no partner ever fires."""
        return self.both / self.fired if self.fired else float("nan")

    @property
    def recall(self) -> float:
        """both / active; NaN if no feature is ever active."""
        return self.both / self.active if self.active else float("nan")

    @property
    def f1(self) -> float:
        """2 both / (fired + active), the harmonic mean of precision and recall; NaN without either."""
        total = self.fired + self.active
        return 2 * self.both / total if total else float("nan")


def support(codes: Float[Tensor, "n m"], coefficients: Float[Tensor, "n f"], matching: Matching) -> Support:
    """Count where matched latents fire (code > 0) and where their features are active (coefficient not 0), over all tokens.

    Latents that are nobody's partner count for nothing: they show in L0 and in `mmcs(atoms, truth)`.
    """
    has = matching.latents >= 0
    fired = codes.detach()[:, matching.latents[has].to(codes.device)] > 0
    active = (coefficients != 0).to(codes.device)
    both = fired & active[:, has.to(codes.device)]
    return Support(int(both.sum()), int(fired.sum()), int(active.sum()))


def selectivity(codes: Float[Tensor, "n m"], coefficients: Float[Tensor, "n f"], matching: Matching) -> Float[Tensor, " f"]:
    """Return each feature's F1 with its partner, 2 both / (fired + active); 0 without a partner, NaN if neither fires."""
    active = (coefficients != 0).double()
    fired = torch.zeros_like(active)
    has = matching.latents >= 0
    fired[:, has] = (codes.detach()[:, matching.latents[has]] > 0).double()
    return 2 * (fired * active).sum(dim=0) / (fired.sum(dim=0) + active.sum(dim=0))
