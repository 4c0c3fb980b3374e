"""Inputs and outputs as a network likes them: centred and of size one, folded back exactly afterwards."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from pellucid.programs.ensembles.members import Members
from pellucid.programs.tasks.base import InputDomain


@dataclass(frozen=True)
class Scaling:
    """x~ = (x - x_mid) / x_half and y = y_mid + y_half y~."""

    x_mid: float
    x_half: float
    y_mid: tuple[float, ...]
    y_half: tuple[float, ...]

    @classmethod
    def of(cls, domain: InputDomain, ys: Int64[Tensor, "n t o"]) -> Scaling:
        """Return the scaling that brings the domain's bounds, and the outputs seen, to -1 and 1."""
        low, high = ys.amin((0, 1)).double(), ys.amax((0, 1)).double()
        half = ((high - low) / 2).clamp(min=0.5)
        x_half = max((domain.high - domain.low) / 2, 0.5)
        return cls((domain.low + domain.high) / 2, x_half, tuple(((low + high) / 2).tolist()), tuple(half.tolist()))

    def inputs(self, xs: Int64[Tensor, "n t i"], dtype: torch.dtype = torch.float32) -> Float[Tensor, "i t n"]:
        """Return scaled inputs with samples as columns."""
        return ((xs.to(dtype) - self.x_mid) / self.x_half).permute(2, 1, 0).contiguous()

    def outputs(self, ys: Float[Tensor, "e o t b"]) -> Float[Tensor, "e o t b"]:
        """Return outputs in the task's own units."""
        n_times = ys.shape[1] // len(self.y_half)  # further targets are outputs as well
        half, mid = (torch.tensor(v * n_times, dtype=ys.dtype).view(-1, 1, 1) for v in (self.y_half, self.y_mid))
        return torch.addcmul(mid, ys, half)

    def folded(self, members: Members) -> Members:
        """Return members in float64 that read plain inputs and write plain outputs: an exact change of both ends."""
        folded = members.to(torch.float64)
        weight, bias = folded.f[0]
        entry = weight[:, :, members.shape.hidden :]
        entry /= self.x_half
        bias -= self.x_mid * entry.sum(2, keepdim=True)
        weight, bias = folded.g[-1]
        half, mid = (torch.tensor(v, dtype=torch.float64).view(-1, 1) for v in (self.y_half, self.y_mid))
        weight *= half
        bias.copy_(bias * half + mid)
        return folded
