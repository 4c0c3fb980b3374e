"""How the positions of a value belong to the rows of data the host was called with."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from pellucid.core.errors import SiteError


@dataclass(frozen=True)
class Layout:
    """Positions of a value for n rows of data: `shape` with n put in at dimension `dim`."""

    dim: int
    """Dimension that counts rows of data."""
    shape: tuple[int, ...]
    """The other dimensions."""

    def positions(self, n: int) -> tuple[int, ...]:
        """Return the shape of positions for n rows of data."""
        return (*self.shape[: self.dim], n, *self.shape[self.dim :])

    def counts(self, keep: Bool[Tensor, "..."] | None, n: int) -> Int[Tensor, " n"]:
        """Return how many kept positions each row of data has."""
        keep = self._keep(keep, n)
        return keep.movedim(self.dim, 0).reshape(n, -1).sum(-1)

    def order(self, keep: Bool[Tensor, "..."] | None, n: int) -> Int[Tensor, " kept"] | None:
        """Return which kept position, counted row of data by row of data, stands at each place of the value's own order.

        None if the two orders are the same.
        """
        if self.dim == 0:
            return None
        keep = self._keep(keep, n)
        number = torch.zeros(keep.shape, dtype=torch.int64)
        number.movedim(self.dim, 0)[keep.movedim(self.dim, 0)] = torch.arange(int(keep.sum()))
        return number[keep]

    def _keep(self, keep: Tensor | None, n: int) -> Tensor:
        if keep is None or tuple(keep.shape) != self.positions(n):
            return torch.ones(self.positions(n), dtype=torch.bool)
        return keep.cpu()


def find_layout(one: tuple[int, ...], two: tuple[int, ...], what: str) -> Layout:
    """Return the layout of a value that has positions `one` for one row of data and `two` for two.

    Raises SiteError if no dimension, or more than one, counts rows of data.
    """
    pairs = list(zip(one, two, strict=False))
    dims = [dim for dim, pair in enumerate(pairs) if pair == (1, 2)]
    same = all(a == b for dim, (a, b) in enumerate(pairs) if dim not in dims)
    if len(one) != len(two) or len(dims) != 1 or not same:
        raise SiteError(
            f"{what} has positions {one} for one row of data and {two} for two, so rows of data cannot be told apart and its "
            f"values cannot be stored. Leave the store out (store.folder)."
        )
    return Layout(dims[0], one[: dims[0]] + one[dims[0] + 1 :])
