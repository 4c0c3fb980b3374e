"""Units of two networks matched by their correlation over the same inputs (Li et al. 2015, arXiv 1511.07543)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from pellucid.core.errors import ConfigError, DataError


@dataclass(frozen=True)
class Partners:
    """For each unit of the first network its partner in the second."""

    units: Int[Tensor, " m"]
    """Partner of each unit; -1 for none."""
    correlations: Float[Tensor, " m"]
    """Correlation with the partner, float64; 0 without one."""

    @property
    def mean(self) -> float:
        """Mean correlation over the units of the first network."""
        return float(self.correlations.mean())


def correlations(a: Float[Tensor, "n m"], b: Float[Tensor, "n k"]) -> Float[Tensor, "m k"]:
    """Return c_ij = E[(a_i - mean a_i)(b_j - mean b_j)] / (sd a_i sd b_j) over n inputs and positions, float64.

    A unit that never varies has correlation 0 with all. DataError if there are fewer than two rows or a value is not finite.
    """
    if len(a) < 2:
        raise DataError(f"correlations need two rows or more, got {len(a)}")
    if not bool(torch.isfinite(a).all() and torch.isfinite(b).all()):
        raise DataError("activations hold values that are not finite")
    return _standardised(a).T @ _standardised(b) / len(a)


def semi_matching(table: Float[Tensor, "m k"]) -> Partners:
    """Return each unit's most correlated partner; a partner may be that of several (many to one)."""
    best = table.double().max(dim=1)
    return Partners(best.indices, best.values)


def one_to_one(table: Float[Tensor, "m k"]) -> Partners:
    """Return the assignment with the largest summed correlation (bipartite matching, Hungarian method).

    Its correlations never exceed those of `semi_matching` unit by unit; the gap shows units that share a partner. Where the
    second network is smaller, units are left without one. ConfigError if scipy is not installed.
    """
    try:
        from scipy.optimize import linear_sum_assignment
    except ImportError:
        raise ConfigError("matching units needs scipy. Install the extra: pip install 'pellucid[geometry]'") from None
    values = table.double().cpu()
    rows, columns = (torch.from_numpy(part) for part in linear_sum_assignment(values.numpy(), maximize=True))
    units, found = torch.full((len(values),), -1), torch.zeros(len(values), dtype=torch.float64)
    units[rows], found[rows] = columns, values[rows, columns]
    return Partners(units, found)


def _standardised(x: Float[Tensor, "n m"]) -> Float[Tensor, "n m"]:
    centred = x.double() - x.double().mean(dim=0)
    deviation = centred.square().mean(dim=0).sqrt()
    return torch.where(deviation > 0, centred / deviation.clamp_min(torch.finfo(torch.float64).tiny), 0.0)
