"""A task: which inputs may come, and the exact integer output of every step."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import torch
from jaxtyping import Int64
from torch import Tensor

from pellucid.core.errors import ConfigError, raise_all


@dataclass(frozen=True)
class InputDomain:
    """The inputs of a task: integers between two bounds, a fixed number of them a step."""

    low: int
    """Smallest input, inclusive."""
    high: int
    """Largest input, inclusive."""
    width: int = 1
    """Numbers that enter at each step."""
    length: int = 10
    """Steps of a training sequence."""

    def __post_init__(self) -> None:
        problems = []
        if self.low > self.high:
            problems.append(f"the lowest input, {self.low}, is above the highest, {self.high}")
        if max(abs(self.low), abs(self.high)) >= 2**31:
            problems.append(f"inputs {self.low}..{self.high} reach beyond 32 bits; networks here read plain numbers below 2^31")
        if self.width < 1:
            problems.append(f"numbers a step must be at least 1, got {self.width}")
        if self.length < 1:
            problems.append(f"the training length must be at least 1, got {self.length}")
        raise_all(problems, ConfigError)

    @property
    def n_symbols(self) -> int:
        """How many different inputs a step may get: (high - low + 1)^width."""
        return int((self.high - self.low + 1) ** self.width)

    def uniform(self, n: int, length: int, generator: torch.Generator | None = None) -> Int64[Tensor, "n t i"]:
        """Return n sequences of independent uniform inputs."""
        return torch.randint(self.low, self.high + 1, (n, length, self.width), generator=generator)


@runtime_checkable
class Task(Protocol):
    """A rule from input sequences to output sequences, with exact integers."""

    @property
    def name(self) -> str:
        """For people only: no later stage may look at it."""
        ...

    @property
    def domain(self) -> InputDomain:
        """Which inputs may come."""
        ...

    @property
    def out_width(self) -> int:
        """Numbers that leave at each step."""
        ...

    def outputs(self, xs: list[Any]) -> list[Any]:
        """Return the outputs of one sequence, one for each input.

        An input is an int, or a tuple of ints when `domain.width` is above 1; an output is an int, or a tuple of ints
        when `out_width` is above 1.
        """
        ...

    def outputs_of(self, xs: Int64[Tensor, "n t i"]) -> Int64[Tensor, "n t o"]:
        """Return the outputs of many sequences of equal length; equal to `outputs` of each."""
        ...

    def sample(self, n: int, length: int, generator: torch.Generator | None = None) -> Int64[Tensor, "n t i"]:
        """Return n input sequences from the task's own distribution: uniform unless the task says otherwise."""
        ...
