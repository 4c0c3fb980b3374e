"""What a network is held against: a task with a rule, rows of data, or nothing but its input range."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol, runtime_checkable

import torch
from jaxtyping import Int64
from torch import Tensor

from pellucid.programs.tasks.base import InputDomain, Task
from pellucid.programs.tasks.examples import Examples


@runtime_checkable
class Reference(Protocol):
    """Input sequences, and the exact outputs where they are known."""

    def sample(self, n: int, length: int, generator: torch.Generator) -> Int64[Tensor, "n t i"]:
        """Return up to n input sequences."""
        ...

    def batch(self, xs: Int64[Tensor, "n t i"]) -> Int64[Tensor, "n t o"] | None:
        """Return exact outputs in 64 bits; None if they are not known for all of the sequences."""
        ...

    def exact(self, xs: Int64[Tensor, "n t i"]) -> list[list[Any]] | None:
        """Return exact outputs as Python integers of any size, or tuples of them; None if not known for all."""
        ...


@dataclass(frozen=True)
class FromTask:
    """Outputs of a rule, for every sequence."""

    task: Task

    def sample(self, n: int, length: int, generator: torch.Generator) -> Int64[Tensor, "n t i"]:
        """Draw from the task's own distribution."""
        return self.task.sample(n, length, generator)

    def batch(self, xs: Int64[Tensor, "n t i"]) -> Int64[Tensor, "n t o"]:
        """Return the rule's outputs."""
        return self.task.outputs_of(xs)

    def exact(self, xs: Int64[Tensor, "n t i"]) -> list[list[Any]]:
        """Return the rule's outputs, one sequence at a time."""
        return [self.task.outputs(sequence) for sequence in as_lists(xs)]


@dataclass(frozen=True)
class FromExamples:
    """Outputs of the rows of a data set; of nothing else."""

    examples: Examples

    @cached_property
    def _rows(self) -> dict[bytes, int]:
        return {row.numpy().tobytes(): i for i, row in enumerate(self.examples.xs)}

    def sample(self, n: int, length: int, generator: torch.Generator) -> Int64[Tensor, "n t i"]:
        """Draw rows without repetition; of another length than the rows', independent uniform inputs."""
        if length != self.examples.xs.shape[1]:
            return self.examples.domain.uniform(n, length, generator)
        return self.examples.xs[torch.randperm(len(self.examples), generator=generator)[:n]]

    def batch(self, xs: Int64[Tensor, "n t i"]) -> Int64[Tensor, "n t o"] | None:
        """Return the outputs of rows."""
        places = [self._rows.get(row.numpy().tobytes()) for row in xs.contiguous()]
        known = [place for place in places if place is not None]
        return self.examples.ys[known] if len(known) == len(places) else None

    def exact(self, xs: Int64[Tensor, "n t i"]) -> list[list[Any]] | None:
        """Return the outputs of rows as lists."""
        ys = self.batch(xs)
        return None if ys is None else as_lists(ys)


@dataclass(frozen=True)
class Nothing:
    """Uniform inputs; no outputs are known."""

    domain: InputDomain

    def sample(self, n: int, length: int, generator: torch.Generator) -> Int64[Tensor, "n t i"]:
        """Draw independent uniform inputs."""
        return self.domain.uniform(n, length, generator)

    def batch(self, xs: Int64[Tensor, "n t i"]) -> None:
        """Return None."""

    def exact(self, xs: Int64[Tensor, "n t i"]) -> None:
        """Return None."""


def reference_of(source: Task | Examples | None, domain: InputDomain) -> Reference:
    """Return the reference that a task, data, or neither makes."""
    if source is None:
        return Nothing(domain)
    return FromExamples(source) if isinstance(source, Examples) else FromTask(source)


def as_lists(xs: Int64[Tensor, "n t i"]) -> list[list[Any]]:
    """Return sequences as a program reads them: numbers, or tuples where there are several a step."""
    if xs.shape[2] == 1:
        return xs[:, :, 0].tolist()
    return [[tuple(x) for x in sequence] for sequence in xs.tolist()]
