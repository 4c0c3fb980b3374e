"""What single codes stand for: their precision on known classes, and how far a distribution is from another."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from pellucid.core.errors import ConfigError


@dataclass(frozen=True)
class BestCodes:
    """The most precise code of each class."""

    code: Int[Tensor, " classes"]
    """Its number; -1 where no code fires often enough on the class."""
    precision: Float[Tensor, " classes"]
    """Share of the positions with this code that are of the class; 0 without one."""
    recall: Float[Tensor, " classes"]
    """Share of the class's positions that have this code; 0 without one."""


def best_codes(codes: Int[Tensor, " n"], classes: Int[Tensor, " n"], n_classes: int, least_recall: float = 0.1) -> BestCodes:
    """Return for each class the code with the highest precision (Tamkin et al. 2023, arXiv 2310.17230).

        precision(code, class) = P(class | code),  recall = P(code | class)

    over positions with one code each. Only codes with at least `least_recall` count, as a code that fires once is always
    precise; of equal precisions that with more recall is taken. Raises ConfigError unless there is a position, classes lie
    in [0, n_classes) and codes are 0 or more.
    """
    if not len(codes) or int(codes.min()) < 0 or int(classes.min()) < 0 or int(classes.max()) >= n_classes:
        raise ConfigError(f"got {len(codes)} positions; wanted at least 1, codes of 0 or more and classes below {n_classes}")
    counts = torch.zeros(n_classes, int(codes.max()) + 1, dtype=torch.float64)
    counts.index_put_((classes.cpu(), codes.cpu()), torch.ones(len(codes), dtype=torch.float64), accumulate=True)
    precision = counts / counts.sum(dim=0).clamp_min(1)
    recall = counts / counts.sum(dim=1, keepdim=True).clamp_min(1)
    enough = (recall >= least_recall) & (counts > 0)
    best = torch.where(enough, precision + 1e-9 * recall, -1.0).argmax(dim=1, keepdim=True)
    has = enough.gather(1, best).squeeze(1)
    values = [torch.where(has, table.gather(1, best).squeeze(1), 0.0) for table in (precision, recall)]
    return BestCodes(torch.where(has, best.squeeze(1), -1), *values)


def jensen_shannon(p: Float[Tensor, "*rest v"], q: Float[Tensor, "*rest v"]) -> Float[Tensor, "*rest"]:
    """Return the Jensen-Shannon divergence of distributions over the last dimension, in nats.

        JS = (KL(p || m) + KL(q || m)) / 2,  m = (p + q) / 2

    0 for equal distributions, log 2 for disjoint ones; symmetric. A probability of 0 adds nothing.
    """
    p, q = p.double(), q.double()
    middle = (p + q) / 2
    return (torch.xlogy(p, p) + torch.xlogy(q, q) - torch.xlogy(p + q, middle)).sum(dim=-1) / 2
