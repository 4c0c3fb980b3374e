"""A sparsity penalty |z|^p whose p falls during training."""

from __future__ import annotations

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor, nn

from pellucid.dictionaries.base import ArchitectureBase

TINY = 1e-6
"""Added to a code before its power is taken: the slope of z^p has no bound at 0."""


class AnnealedConfig(ArchitectureBase):
    """Settings of a penalty whose power falls."""

    l1: float = Field(default=0.6, ge=0, allow_inf_nan=False)
    """Sparsity coefficient lambda while p is 1; the penalty is lambda / d times the mean sum of z^p."""
    p_end: float = Field(default=0.2, gt=0, le=1)
    """Power at the end of training."""
    anneal_start: float = Field(default=0.25, ge=0, lt=1)
    """Share of the training before p begins to fall."""
    anneal_updates: int = Field(default=10, ge=1)
    """Steps in which p falls from 1 to p_end, evenly over the rest of the training."""
    anneal_window: int = Field(default=10, ge=1)
    """Batches over which the two penalties are compared when p changes."""


class Annealed(nn.Module):
    """lambda / d * mean over tokens of sum_i z_i^p, p falling and lambda following it (Karvonen et al. 2024, arXiv 2408.00113).

        p_u = 1 - (1 - p_end) * u / updates after u of the updates
        lambda <- lambda * S(p_u) / S(p_(u + 1)) at an update, S(p) = mean over the last batches of sum_i z_i^p

    so that the penalty's value does not jump. At most one update a step: a training of fewer steps than updates does not
    get to p_end. Buffers: `updates` taken so far, `factor` on lambda, and the `recent` sums at p_u and p_(u + 1).
    """

    updates: Float[Tensor, ""]
    factor: Float[Tensor, ""]
    recent: Float[Tensor, "window two"]
    seen: Float[Tensor, ""]

    def __init__(self, config: AnnealedConfig) -> None:
        super().__init__()
        self.config = config
        self.register_buffer("updates", torch.zeros(()))
        self.register_buffer("factor", torch.ones(()))
        self.register_buffer("recent", torch.zeros(config.anneal_window, 2))
        self.register_buffer("seen", torch.zeros(()))

    def power(self, further: int = 0) -> float:
        """Return p after the updates so far and `further` ones."""
        taken = min(int(self.updates) + further, self.config.anneal_updates)
        return 1 - (1 - self.config.p_end) * taken / self.config.anneal_updates

    @torch.no_grad()
    def begin_step(self, progress: float) -> None:
        """Take the next update if the training has come to it and a batch was seen since the last."""
        config = self.config
        due = int((progress - config.anneal_start) / (1 - config.anneal_start) * config.anneal_updates + 1e-9) + 1
        if progress < config.anneal_start or int(self.updates) >= min(due, config.anneal_updates) or self.seen == 0:
            return
        now, then = self.recent[: min(int(self.seen), config.anneal_window)].mean(dim=0)
        if now > 0 and then > 0:
            self.factor *= now / then
        self.updates += 1
        self.seen.zero_()

    def penalty(self, values: Float[Tensor, "..."], tokens: int, width: int) -> Float[Tensor, ""]:
        """Return the penalty on codes, whole or those of the entries alone, and remember their sums for the next update."""
        positive = torch.where(values > 0, values, 1.0)
        active = (values > 0).to(values.dtype)
        sums = ((positive + TINY) ** self.power() * active).sum() / max(1, tokens)
        if self.training:
            with torch.no_grad():
                then = ((positive + TINY) ** self.power(1) * active).sum() / max(1, tokens)
                place = int(self.seen) % self.config.anneal_window
                self.recent[place] = torch.stack([sums.detach(), then])
                self.seen += 1
        return self.config.l1 / width * self.factor * sums
