"""What the codes of each latent look like: counts, means, quantiles and histograms, exact."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
from jaxtyping import Float, Int

from pellucid.features.index.schema import BINS, QUANTILES
from pellucid.features.index.shards import Block


def statistics(block: Block, kept: int) -> dict[str, Any]:
    """Return the columns of `LATENTS` that depend on a latent's own codes alone; `kept` positions were seen.

    With c_1 <= .. <= c_n the positive codes of a latent:
        mean = sum c / n (float64);  firing_rate = n / kept;  max = c_n
        quantile q = linear between the neighbours of place q (n - 1), counted from 0 (type 7 of Hyndman & Fan 1996)
        histogram bin b = how many c lie in (b max / 20, (b + 1) max / 20]
    Latents that never fire have mean and max 0 and empty lists.
    """
    n = np.diff(block.starts)
    values = ascending(block)[1].astype(np.float64)
    fires = n > 0
    mean, most = np.zeros(block.n), np.zeros(block.n)
    mean[fires] = np.bincount(block.latents, weights=values, minlength=block.n)[fires] / n[fires]
    most[fires] = values[block.starts[1:][fires] - 1]
    return {
        "latent": np.arange(block.first, block.first + block.n),
        "firings": n,
        "firing_rate": n / max(kept, 1),
        "mean": mean,
        "max": most,
        "quantiles": lists(_quantiles(values, block.starts[:-1][fires], n[fires]), fires, pa.float32()),
        "histogram": lists(_histogram(block.latents, values, most)[fires], fires, pa.int32()),
    }


def ascending(block: Block) -> tuple[Int[np.ndarray, " e"], Float[np.ndarray, " e"]]:
    """Return order and values of the entries sorted by latent, then code; equal codes stay in order of position."""
    # A positive float's bits grow with it, so that one integer sorts by both.
    keys = (block.latents.astype(np.uint64) << np.uint64(32)) | block.values.view(np.uint32).astype(np.uint64)
    order = np.argsort(keys, kind="stable")
    return order, block.values[order]


def lists(rows: np.ndarray, filled: np.ndarray, kind: pa.DataType) -> pa.ListArray:
    """Return a list column: the next of `rows` [f, width] where `filled` [b] is true, else an empty list."""
    width = rows.shape[1]
    offsets = np.concatenate([[0], np.cumsum(filled * width)]).astype(np.int32)
    return pa.ListArray.from_arrays(pa.array(offsets), pa.array(rows.reshape(-1)).cast(kind))


def _quantiles(
    values: Float[np.ndarray, " e"], first: Int[np.ndarray, " f"], n: Int[np.ndarray, " f"]
) -> Float[np.ndarray, "f quantiles"]:
    # Whole tenths of n - 1, so that a place that is a whole number is one.
    low, tenths = np.divmod((n - 1)[:, None] * np.arange(QUANTILES), QUANTILES - 1)
    high = np.minimum(low + 1, (n - 1)[:, None])
    below, above = values[first[:, None] + low], values[first[:, None] + high]
    return (below + (above - below) * (tenths / (QUANTILES - 1))).astype(np.float32)


def _histogram(
    latents: Int[np.ndarray, " e"], values: Float[np.ndarray, " e"], most: Float[np.ndarray, " b"]
) -> Int[np.ndarray, "b bins"]:
    bins = np.clip(np.ceil(values * BINS / most[latents]).astype(np.int64) - 1, 0, BINS - 1)
    return np.bincount(latents * BINS + bins, minlength=len(most) * BINS).reshape(-1, BINS)
