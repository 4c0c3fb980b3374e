"""The loss of the fact sheet, and where rounded outputs are wrong."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float
from torch import Tensor


def log_loss(
    outputs: Float[Tensor, "e o t b"], targets: Float[Tensor, "o t b"]
) -> tuple[Float[Tensor, "e"], Float[Tensor, "e o t b"]]:
    """Return the mean of 0.5 ln(1 + (output - target)^2) for each member, and its gradient at the outputs.

    The gradient e / (1 + e^2) falls off for errors e beyond 1, so that a few wrong steps do not outweigh the rest
    (arXiv 2402.05110, training).
    """
    error = outputs - targets
    squared = error.square()
    loss = 0.5 * torch.log1p(squared).mean((1, 2, 3))
    return loss, error.div_(squared.add_(1)).mul_(1 / targets.numel())


def wrong(outputs: Float[Tensor, "e o t b"], targets: Float[Tensor, "o t b"]) -> Bool[Tensor, "e t b"]:
    """Return where any rounded output differs from its integer target; an output that is not finite is wrong."""
    return ~((outputs - targets).abs() < 0.5).all(1)
