"""Adam with gradient clipping, for each member alone."""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor


class MemberAdam:
    """Adam (Kingma & Ba 2015) on rows of parameters; a member's gradient is first scaled to norm 1 at most."""

    def __init__(self, flat: Float[Tensor, "e p"], betas: tuple[float, float] = (0.9, 0.999), clip: float = 1.0) -> None:
        self.flat, self.betas, self.clip = flat, betas, clip
        self.first, self.second = torch.zeros_like(flat), torch.zeros_like(flat)
        self.steps = 0

    def step(self, gradient: Float[Tensor, "e p"], rate: float) -> None:
        """Move every member once; a member whose gradient is not finite stays where it is."""
        norm = gradient.norm(dim=1, keepdim=True)
        scale = (self.clip / (norm + 1e-6)).clamp_(max=1.0)
        if not bool(norm.isfinite().all()):
            gradient = torch.where(norm.isfinite(), gradient, 0.0)
            scale = torch.where(norm.isfinite(), scale, 0.0)
        gradient = gradient * scale
        self.steps += 1
        b1, b2 = self.betas
        self.first.mul_(b1).add_(gradient, alpha=1 - b1)
        self.second.mul_(b2).addcmul_(gradient, gradient, value=1 - b2)
        size = rate * math.sqrt(1 - b2**self.steps) / (1 - b1**self.steps)
        self.flat.addcdiv_(self.first, self.second.sqrt().add_(1e-8), value=-size)

    def keep(self, which: Tensor, flat: Float[Tensor, "k p"]) -> None:
        """Go on with the members that `which` picks, whose parameters are now `flat`."""
        self.flat, self.first, self.second = flat, self.first[which].clone(), self.second[which].clone()
