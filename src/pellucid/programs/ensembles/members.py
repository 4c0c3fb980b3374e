"""Networks of one shape side by side: all parameters in one tensor, one row for each member."""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor

from pellucid.programs.networks.recurrent import RecurrentNetwork
from pellucid.programs.networks.shape import Shape

Layer = tuple[Tensor, Tensor]
"""Weight [e, out, in] and bias [e, out, 1]: y = W x + b for each member, with samples as columns."""


class Members:
    """Networks of one shape, with parameters `flat` [e, p]; the layers are views into it."""

    def __init__(self, shape: Shape, n_in: int, n_out: int, flat: Float[Tensor, "e p"]) -> None:
        self.shape, self.n_in, self.n_out, self.flat = shape, n_in, n_out, flat
        assert flat.shape[1] == parameters(shape, n_in, n_out)
        self.f, self.g = views(shape, n_in, n_out, flat)

    def __len__(self) -> int:
        return len(self.flat)

    def subset(self, which: Tensor) -> Members:
        """Return a copy of the members that `which` (indices or mask) picks."""
        return Members(self.shape, self.n_in, self.n_out, self.flat[which].clone())

    def to(self, dtype: torch.dtype) -> Members:
        """Return the same members in another precision."""
        return Members(self.shape, self.n_in, self.n_out, self.flat.to(dtype))


def parameters(shape: Shape, n_in: int, n_out: int) -> int:
    """Return how many parameters one network of this shape has."""
    f, g = shape.layers(n_in, n_out)
    return sum(i * o + o for i, o in f + g)


def views(shape: Shape, n_in: int, n_out: int, flat: Float[Tensor, "e p"]) -> tuple[list[Layer], list[Layer]]:
    """Return the layers of f and of g as views into rows of parameters: weight, bias, next weight, and so on."""
    at, parts = 0, []
    for sizes in shape.layers(n_in, n_out):
        layers = []
        for i, o in sizes:
            weight = flat[:, at : at + i * o].view(-1, o, i)
            bias = flat[:, at + i * o : at + i * o + o].view(-1, o, 1)
            layers.append((weight, bias))
            at += i * o + o
        parts.append(layers)
    return parts[0], parts[1]


def new_members(shape: Shape, n_in: int, n_out: int, seeds: list[int], dtype: torch.dtype = torch.float32) -> Members:
    """Return one member for each seed, uniform in +-1/sqrt(inputs) as PyTorch starts a linear layer.

    A member depends on its own seed alone, so it starts alike in an ensemble and alone.
    """
    rows = torch.empty(len(seeds), parameters(shape, n_in, n_out), dtype=dtype)
    for row, seed in zip(rows, seeds, strict=True):
        generator = torch.Generator().manual_seed(seed)
        f, g = views(shape, n_in, n_out, row.unsqueeze(0))
        for weight, bias in f + g:
            bound = 1 / math.sqrt(weight.shape[2])
            weight.uniform_(-bound, bound, generator=generator)
            bias.uniform_(-bound, bound, generator=generator)
    return Members(shape, n_in, n_out, rows)


def network_of(members: Members, which: int) -> RecurrentNetwork:
    """Return one member as a network of its own, in float64."""
    parts = [
        [(w[which].double().clone(), b[which, :, 0].double().clone()) for w, b in layers] for layers in (members.f, members.g)
    ]
    return RecurrentNetwork(members.shape, members.n_in, members.n_out, *parts)
