"""How close a dictionary's output is to the site's own values: sums over positions, in float64."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor


class Reconstruction:
    """Running sums over positions; the result does not depend on how positions are cut into batches."""

    def __init__(self, width: int, device: torch.device | str = "cpu") -> None:
        self.n = 0
        self._error = torch.zeros(width, dtype=torch.float64, device=device)
        self._residual = torch.zeros(width, dtype=torch.float64, device=device)
        self._sum = torch.zeros(width, dtype=torch.float64, device=device)
        self._square = torch.zeros(width, dtype=torch.float64, device=device)
        self._ratio = 0.0
        self._length = self._overlap = 0.0

    def update(self, x: Float[Tensor, "n d"], x_hat: Float[Tensor, "n d"]) -> None:
        """Count n more positions: x the site's values, x_hat the dictionary's."""
        x, x_hat = x.double(), x_hat.double()
        if self.n == 0:
            self._shift = x.mean(dim=0)
        self.n += len(x)
        # Squares around a first guess of the mean lose no digits when the mean is large beside the spread.
        moved = x - self._shift
        self._sum += moved.sum(dim=0)
        self._square += moved.square().sum(dim=0)
        self._error += (x - x_hat).square().sum(dim=0)
        self._residual += (x - x_hat).sum(dim=0)
        self._length += float(x_hat.square().sum())
        self._overlap += float((x_hat * x).sum())
        norms = x.norm(dim=-1)
        self._ratio += float(torch.where(norms > 0, x_hat.norm(dim=-1) / norms, 1.0).sum())

    @property
    def mse(self) -> float:
        """mean over positions and coordinates of (x - x_hat)^2."""
        return float(self._error.mean() / self.n)

    @property
    def fvu(self) -> float:
        """sum |x - x_hat|^2 / sum |x - mean x|^2, sums over positions, mean over the same positions."""
        return float(self._error.sum() / self._variance().sum()) if float(self._variance().sum()) > 0 else float("nan")

    @property
    def explained_variance(self) -> float:
        """Mean over coordinates of 1 - var(x - x_hat) / var(x); unlike 1 - fvu it forgives a constant offset.

        Coordinates that never vary are left out.
        """
        variance = self._variance()
        left = self._error - self._residual.square() / self.n
        varies = variance > 0
        return float((1 - left[varies] / variance[varies]).mean())

    @property
    def norm_ratio(self) -> float:
        """mean over positions of |x_hat| / |x|; a position with x = 0 counts as 1."""
        return self._ratio / self.n

    @property
    def gamma(self) -> float:
        """Relative reconstruction bias, sum |x_hat|^2 / sum <x_hat, x> over positions; below 1 where codes are shrunk.

        The g that minimises sum |x_hat / g - x|^2; NaN if x_hat and x do not overlap.
        """
        return self._length / self._overlap if self._overlap != 0 else float("nan")

    def _variance(self) -> Tensor:
        return self._square - self._sum.square() / self.n
