"""The sparse kernels for GPUs, written in Triton: float32, bfloat16 or float16 in and out, sums in float32.

Results do not depend on which program runs first: nothing is added with atomics.
"""

from __future__ import annotations

from pellucid.kernels.gpu.machine import obstacle
from pellucid.kernels.gpu.rows import remove_parallel, unit_rows
from pellucid.kernels.gpu.select import above_rows, top_rows
from pellucid.kernels.gpu.sums import decode_rows, entry_dots, latent_sums, latent_totals
from pellucid.kernels.stock import LATENTS_FIRST

__all__ = [
    "LATENTS_FIRST",
    "above_rows",
    "decode_rows",
    "entry_dots",
    "latent_sums",
    "latent_totals",
    "obstacle",
    "remove_parallel",
    "top_rows",
    "unit_rows",
]
