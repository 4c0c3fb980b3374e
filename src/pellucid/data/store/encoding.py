"""Rows of numbers as a store keeps them, and what that costs in accuracy."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from pellucid.data.store.config import Dtype

TYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "int8": torch.int8}
STEPS = 127
"""int8 codes run from -STEPS to STEPS."""


@dataclass(frozen=True)
class Error:
    """Sums from which the error of rounding is told; rows that hold NaN or infinity are left out."""

    squared_error: float = 0.0
    squared: float = 0.0

    def __add__(self, other: Error) -> Error:
        return Error(self.squared_error + other.squared_error, self.squared + other.squared)

    @property
    def relative_rms(self) -> float:
        """Return sqrt(sum (x - kept)^2 / sum x^2) over all numbers."""
        return (self.squared_error / self.squared) ** 0.5 if self.squared else 0.0


def encode(rows: Float[Tensor, "n d"], dtype: Dtype) -> dict[str, Tensor]:
    """Return the tensors that are kept: `rows`, and for int8 `scale` [n].

    int8: code = round(x / scale) with scale = max |x| / 127 of the row, so no number is off by more than scale / 2. A row
    that holds NaN or infinity has scale NaN and reads as NaN throughout; the other types keep such numbers as they are.
    """
    rows = rows.detach().float().cpu()
    if dtype != "int8":
        return {"rows": rows.to(TYPES[dtype]).contiguous()}
    scale = rows.abs().amax(-1) / STEPS  # [n]
    safe = torch.where(torch.isfinite(scale) & (scale > 0), scale, 1.0)
    codes = torch.nan_to_num(rows / safe.unsqueeze(-1), 0.0, 0.0, 0.0).round_().clamp_(-STEPS, STEPS)
    return {"rows": codes.to(torch.int8), "scale": torch.where(torch.isfinite(scale), safe, torch.nan)}


def decode(tensors: dict[str, Tensor], out: Float[Tensor, "n d"]) -> None:
    """Write kept rows into `out` as float32."""
    out.copy_(tensors["rows"])
    if "scale" in tensors:
        out.mul_(tensors["scale"].unsqueeze(-1))


def measure(rows: Float[Tensor, "n d"], kept: dict[str, Tensor]) -> Error:
    """Return the error of keeping `rows`; summed in float64."""
    if kept["rows"].dtype == torch.float32:
        return Error()
    rows = rows.detach().float().cpu()
    back = torch.empty_like(rows)
    decode(kept, back)
    finite = torch.isfinite(rows).all(-1)
    rows, back = rows[finite], back[finite]
    return Error(float((rows - back).square_().sum(dtype=torch.float64)), float(rows.square().sum(dtype=torch.float64)))


def row_bytes(width: int, dtype: Dtype) -> int:
    """Return the bytes one row takes."""
    return width * TYPES[dtype].itemsize + (4 if dtype == "int8" else 0)
