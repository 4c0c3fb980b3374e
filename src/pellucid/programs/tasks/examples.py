"""Sequences without a rule: inputs and outputs of equal length, checked for contradictions."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Int64
from torch import Tensor

from pellucid.core.errors import DataError
from pellucid.programs.tasks.base import InputDomain


@dataclass(frozen=True)
class Examples:
    """Rows of input and output sequences, all of one length; DataError if two rows contradict each other."""

    name: str
    """For people only."""
    xs: Int64[Tensor, "n t i"]
    ys: Int64[Tensor, "n t o"]

    def __post_init__(self) -> None:
        if self.xs.numel() == 0 or self.ys.numel() == 0:
            raise DataError(f"{self.name} holds no sequences: inputs {tuple(self.xs.shape)}, outputs {tuple(self.ys.shape)}")
        found = contradiction(self.xs, self.ys)
        if found:
            raise DataError(f"{self.name}: {found}")

    @property
    def domain(self) -> InputDomain:
        """Return the bounds, width and length found in the inputs."""
        return InputDomain(int(self.xs.min()), int(self.xs.max()), self.xs.shape[2], self.xs.shape[1])

    @property
    def out_width(self) -> int:
        """Numbers that leave at each step."""
        return self.ys.shape[2]

    def __len__(self) -> int:
        return len(self.xs)


def contradiction(xs: Int64[Tensor, "n t i"], ys: Int64[Tensor, "n t o"]) -> str:
    """Return a sentence on the first two rows that agree in their inputs up to some step and differ in its output, or ''.

    Outputs may depend on the inputs so far alone, so equal prefixes must have equal outputs.
    """
    group = torch.zeros(len(xs), dtype=torch.int64)  # rows of equal number share the prefix read so far
    for t in range(xs.shape[1]):
        group = torch.unique(torch.cat((group.unsqueeze(1), xs[:, t]), 1), dim=0, return_inverse=True)[1]
        first = torch.full((int(group.max()) + 1,), len(xs), dtype=torch.int64)
        first.scatter_reduce_(0, group, torch.arange(len(xs)), "amin")
        partner = first[group]
        differ = (ys[:, t] != ys[partner, t]).any(1)
        if bool(differ.any()):
            row = int(differ.nonzero()[0, 0])
            other = int(partner[row])
            prefix = _plain(xs[row, : t + 1])
            return (
                f"rows {other + 1} and {row + 1} contradict each other: both begin with {prefix}, "
                f"but output {t + 1} is {_plain(ys[other, t : t + 1])[0]} in one and "
                f"{_plain(ys[row, t : t + 1])[0]} in the other"
            )
    return ""


def _plain(steps: Int64[Tensor, "t i"]) -> list[int | tuple[int, ...]]:
    """Numbers of each step as an int, or as a tuple where there are several."""
    return [step[0] if len(step) == 1 else tuple(step) for step in steps.tolist()]
