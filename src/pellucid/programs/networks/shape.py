"""The shape of a recurrent network: how wide its state is, how deep and wide its two perceptrons are."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

from pellucid.core.errors import ConfigError, raise_all

LARGEST = 4096
"""Widest layer, and most numbers a step, that is built or loaded."""


@dataclass(frozen=True, order=True)
class Shape:
    """h_t = f([h_{t-1}; x_t]), y_t = g(h_t), h_0 = 0; f and g are perceptrons with ReLU between their layers.

    Depth counts linear layers: depth 1 is affine. Inner layers of one perceptron share one width, which is 0 where
    there is no inner layer (arXiv 2402.05110, section on architecture search).
    """

    hidden: int
    """Numbers carried from step to step."""
    f_depth: int = 1
    """Linear layers of f."""
    f_width: int = 0
    """Width of f's inner layers."""
    g_depth: int = 1
    """Linear layers of g."""
    g_width: int = 0
    """Width of g's inner layers."""

    def __post_init__(self) -> None:
        problems = []
        if not 1 <= self.hidden <= LARGEST:
            problems.append(f"hidden is {self.hidden}, wanted 1..{LARGEST}")
        for part, depth, width in (("f", self.f_depth, self.f_width), ("g", self.g_depth, self.g_width)):
            if not 1 <= depth <= 8:
                problems.append(f"{part}_depth is {depth}, wanted 1..8 linear layers")
            elif depth == 1 and width != 0:
                problems.append(f"{part}_width is {width}, but with {part}_depth 1 there is no inner layer: leave it 0")
            elif depth > 1 and not 1 <= width <= LARGEST:
                problems.append(f"{part}_width is {width}, wanted 1..{LARGEST}")
        raise_all(problems, ConfigError, title=f"Shape(hidden={self.hidden}, ...)" if len(problems) > 1 else "")

    @property
    def affine(self) -> bool:
        """Whether the network is an affine dynamical system."""
        return self.f_depth == self.g_depth == 1

    def layers(self, n_in: int, n_out: int) -> tuple[list[tuple[int, int]], list[tuple[int, int]]]:
        """Return (inputs, outputs) of each linear layer of f, and of g."""
        f = [self.hidden + n_in, *[self.f_width] * (self.f_depth - 1), self.hidden]
        g = [self.hidden, *[self.g_width] * (self.g_depth - 1), n_out]
        return list(itertools.pairwise(f)), list(itertools.pairwise(g))

    def __str__(self) -> str:
        inner = "" if self.f_depth == 1 else f", f {self.f_depth} layers of {self.f_width}"
        outer = "" if self.g_depth == 1 else f", g {self.g_depth} layers of {self.g_width}"
        return f"hidden {self.hidden}{inner}{outer}"
