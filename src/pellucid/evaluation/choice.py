"""Choosing size and sparsity of a dictionary without ground truth, and what the choice costs where there is one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pellucid.core.errors import DataError


@dataclass(frozen=True)
class Cell:
    """One dictionary of a grid over sizes and sparsities."""

    size: int
    """Number of atoms."""
    sparsity: float
    """Coefficient, or what takes its place."""
    agreement: float | None
    """`next_larger` to the dictionary of the next size at the same sparsity; None for the largest size."""
    dead: int
    """Latents that never fire."""
    loss: float
    """Reconstruction error."""
    truth: float | None = None
    """mmcs from the true features, where they are known."""


@dataclass(frozen=True)
class Choice:
    """A cell chosen without the truth."""

    cell: Cell
    """The chosen one."""
    features: int
    """Estimated number of features: live atoms of the next larger dictionary at this sparsity, where dead ones appear."""
    by_loss: Cell
    """The cell of least reconstruction error, for comparison: it is a poor guide."""

    @property
    def loss_is_no_guide(self) -> bool:
        """True if the least error is elsewhere."""
        return self.by_loss != self.cell


def choose(cells: Sequence[Cell]) -> Choice:
    """Choose the cell whose atoms the next larger dictionary finds again best (Sharkey et al. 2022).

    Of cells within 0.01 of the best agreement the smallest size is taken, then the best agreement. `features` is the number
    of live atoms at the next size. DataError if no cell has an agreement.
    """
    rated = [cell for cell in cells if cell.agreement is not None and cell.agreement == cell.agreement]
    if not rated:
        raise DataError("no cell has an agreement with a larger dictionary; train at least two sizes at one sparsity")
    best = max(float(cell.agreement or 0) for cell in rated)
    near = [cell for cell in rated if float(cell.agreement or 0) >= best - 0.01]
    chosen = min(near, key=lambda cell: (cell.size, -float(cell.agreement or 0)))
    larger = [cell for cell in cells if cell.sparsity == chosen.sparsity and cell.size > chosen.size]
    after = min(larger, key=lambda cell: cell.size) if larger else chosen
    return Choice(chosen, after.size - after.dead, min(cells, key=lambda cell: cell.loss))


@dataclass(frozen=True)
class Regret:
    """How far a choice is from the best by the truth."""

    lost: float
    """Best true mmcs of the grid minus that of the chosen cell."""
    steps: int
    """Larger of the grid steps in size and in sparsity between the two."""


def regret(cells: Sequence[Cell], chosen: Cell) -> Regret:
    """Return what choosing without the truth costs; DataError if a cell has no truth."""
    if any(cell.truth is None for cell in cells):
        raise DataError("a cell has no true mmcs, so the best is not known")
    best = max(cells, key=lambda cell: float(cell.truth or 0))
    sizes, sparsities = sorted({cell.size for cell in cells}), sorted({cell.sparsity for cell in cells})
    steps = (
        abs(sizes.index(best.size) - sizes.index(chosen.size)),
        abs(sparsities.index(best.sparsity) - sparsities.index(chosen.sparsity)),
    )
    return Regret(float(best.truth or 0) - float(chosen.truth or 0), max(steps))
