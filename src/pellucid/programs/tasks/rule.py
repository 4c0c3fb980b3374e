"""A task given by a rule: a plain form for one sequence and a form for many at once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Int64
from torch import Tensor

from pellucid.core.errors import ConfigError
from pellucid.programs.tasks.base import InputDomain

Plain = Callable[[list[Any]], list[Any]]
"""From the list of inputs to the list of outputs, in plain Python."""
Batched = Callable[[Tensor], Tensor]
"""From inputs [n, t, i] to outputs [n, t] or [n, t, o], in int64."""


@dataclass(frozen=True)
class Rule:
    """A task whose rule is known in two forms, of which each is the other's test."""

    name: str
    domain: InputDomain
    plain: Plain
    batched: Batched
    out_width: int = 1
    sampler: Callable[[int, int, torch.Generator | None], Tensor] | None = None
    """Input sequences (n, length, generator) -> [n, t, i]; independent uniform draws if None."""

    def outputs(self, xs: list[Any]) -> list[Any]:
        """Return the outputs of one sequence, by the plain form."""
        return self.plain(xs)

    def outputs_of(self, xs: Int64[Tensor, "n t i"]) -> Int64[Tensor, "n t o"]:
        """Return the outputs of many sequences, by the batched form.

        Raises ConfigError if outputs of this length grow beyond 2^53, where float64 ends to be exact and int64 nears its
        end: the plain form has no such bound.
        """
        ys = self.batched(xs)
        if ys.numel() and int(ys.abs().max()) >= 2**53:
            step = int((ys.abs() >= 2**53).flatten(2).any(2).any(0).nonzero()[0, 0]) if ys.ndim == 3 else 0
            raise ConfigError(f"task {self.name}: outputs reach 2^53 at step {step + 1}; take sequences shorter than that")
        return ys if ys.ndim == 3 else ys.unsqueeze(-1)

    def sample(self, n: int, length: int, generator: torch.Generator | None = None) -> Int64[Tensor, "n t i"]:
        """Return n input sequences of the task's distribution."""
        draw = self.sampler or self.domain.uniform
        return draw(n, length, generator)
