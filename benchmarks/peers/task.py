"""What every contender is given: one architecture, one size and the same batches. Needs PyTorch alone."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

LEARNING_RATE = 1e-5
"""Small, so that the sparsity of the codes stays where it was set; no step costs more or less for it."""
N_BATCHES = 4


@dataclass(frozen=True)
class Task:
    """One training step to be measured."""

    architecture: str
    """topk, batch_topk, jumprelu or relu."""
    latents: int
    tokens: int
    """Rows of a batch."""
    width: int
    k: int
    """Active latents per token; the mean L0 at the start where the architecture does not fix it."""
    device: str = "cpu"
    """Where dictionary and batches are."""

    @cached_property
    def batches(self) -> list[Tensor]:
        """Batches [tokens, width] that steps take in turn: 32 of 4 x width planted directions a token, and noise."""
        generator = torch.Generator().manual_seed(0)
        directions = torch.nn.functional.normalize(torch.randn(4 * self.width, self.width, generator=generator), dim=-1)
        made = []
        for _ in range(N_BATCHES):
            chosen = torch.randint(len(directions), (self.tokens, 32), generator=generator)
            amounts = torch.rand(self.tokens, 32, generator=generator) + 0.5
            signal = torch.nn.functional.embedding_bag(chosen, directions, per_sample_weights=amounts, mode="sum")
            made.append((signal + 0.1 * torch.randn(self.tokens, self.width, generator=generator)).to(self.device))
        return made

    def batch(self, step: int) -> Tensor:
        """Return the batch of a step."""
        return self.batches[step % N_BATCHES]

    def cut(self, preactivations: Callable[[Tensor], Tensor]) -> float:
        """Return the value that k pre-activations a token exceed on average, from 512 rows of the first batch."""
        with torch.no_grad():
            pre = preactivations(self.batch(0)[:512])
        return float(pre.flatten().topk(self.k * len(pre)).values[-1])


@dataclass(frozen=True)
class Contender:
    """A dictionary in training."""

    step: Callable[[int], object]
    """Take training step number i: forward, loss, backward, update and all that the library does with them."""
    l0: Callable[[], float]
    """Return the mean number of active latents on the first batch; not timed."""


def mean_l0(codes: Tensor) -> float:
    """Return the mean number of positive codes a row."""
    codes = codes.to_dense() if codes.is_sparse else codes
    return float((codes.detach() > 0).sum(dim=-1).double().mean())
