"""Shapes in the order in which they are tried: from simple to complex, the same for every task."""

from __future__ import annotations

from dataclasses import dataclass

from pellucid.programs.networks.shape import Shape


@dataclass(frozen=True)
class Rung:
    """An ensemble of one shape."""

    shape: Shape
    members: int
    """Seeds side by side."""
    steps: int
    """Training steps at most."""


def perceptrons(hidden: int, width: int) -> Shape:
    """Return the shape with two layers of one width in f and in g."""
    return Shape(hidden, 2, width, 2, width)


LADDER = (
    Rung(perceptrons(2, 16), 16, 2500),
    Rung(perceptrons(4, 32), 8, 4000),
    Rung(perceptrons(6, 64), 6, 6000),
    Rung(perceptrons(10, 128), 4, 6000),
)
"""The wider the shape, the more surely a member learns, and the longer a step takes."""
