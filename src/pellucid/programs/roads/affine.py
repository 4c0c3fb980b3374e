"""Road 1: the network as an affine system with exact rationals."""

from __future__ import annotations

from collections.abc import Iterator

from pellucid.programs.affine import measure_response
from pellucid.programs.affine.forms import machines_of
from pellucid.programs.language.machine import Machine
from pellucid.programs.roads.context import Context

LARGEST_RESIDUAL = 0.45
SEQUENCES = 300
MOST_FORMS = 3


def affine_road(context: Context) -> Iterator[Machine]:
    """Yield the shortest forms of the affine system that the outputs are of, if they are within less than a half."""
    response = measure_response(context.xs[:SEQUENCES], context.raw[:SEQUENCES])
    if response.residual <= LARGEST_RESIDUAL:
        yield from machines_of(response)[:MOST_FORMS]
