"""Mixing the positions of many rows of text, in an order that depends on the seed and the step only."""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor

from pellucid.data.source import seeded


def shuffled_rows(
    first: Int[Tensor, " r"], counts: Int[Tensor, " r"], *, seed: int, window: int, part: int, parts: int
) -> Int[Tensor, " n"]:
    """Return the stored rows of batch `part` of `parts` in a window of text rows.

    `first` and `counts` say where each text row of the window begins among the stored rows and how many it has. All
    positions of the window are put in one order drawn from (seed, window) and dealt to the parts as evenly as can be, so
    that every position is in exactly one batch and no earlier batch must be made first.
    """
    starts = counts.cumsum(0) - counts
    rows = torch.repeat_interleave(first - starts, counts) + torch.arange(int(counts.sum()))
    order = torch.randperm(len(rows), generator=seeded("shuffle", seed, window))
    begin, end = (len(rows) * place // parts for place in (part, part + 1))
    return rows[order[begin:end]]


def neighbour_correlation(rows: Float[Tensor, "n d"], mean: Float[Tensor, " d"] | None = None) -> float:
    """Return how alike neighbours in a batch are: sum_i <x_i - m, x_(i+1) - m> / (n - 1) over mean_i |x_i - m|^2.

    1 if neighbours are equal, 0 expected if they are independent. `mean` m is the mean of the data; by default that of
    the batch, which lowers the expectation to about -1/n.
    """
    x = rows.double()
    x = x - (x.mean(0) if mean is None else mean.double())
    between = (x[:-1] * x[1:]).sum() / (len(x) - 1)
    return float(between / x.square().sum(-1).mean())
