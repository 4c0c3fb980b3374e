"""Tables of a planted function, and whether an expression gives them."""

from __future__ import annotations

import numpy as np

from pellucid.programs.regression import Table, collect

NAMES = ("a", "b", "c", "d", "e", "f", "g", "h", "i")


def table_of(function, *ranges) -> Table:
    """All points of a grid and a function's values there."""
    grid = np.stack([g.ravel() for g in np.meshgrid(*[np.array(r) for r in ranges], indexing="ij")], 1)
    target = np.array([int(function(*map(int, row))) for row in grid])
    return collect(NAMES[: len(ranges)], grid, target)


def right(table: Table, expression) -> bool:
    return not table.wrong(expression).any()
