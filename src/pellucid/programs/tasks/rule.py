"""A task given by a rule: a plain form for one sequence and a form for many at once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Int64
from torch import Tensor

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
        """Return the outputs of many sequences, by the batched form."""
        ys = self.batched(xs)
        return ys if ys.ndim == 3 else ys.unsqueeze(-1)

    def sample(self, n: int, length: int, generator: torch.Generator | None = None) -> Int64[Tensor, "n t i"]:
        """Return n input sequences of the task's distribution."""
        draw = self.sampler or self.domain.uniform
        return draw(n, length, generator)
