"""The numbers of all latents of one dictionary in memory, ordered and filtered in milliseconds.

Sorting a million values anew for each page takes DuckDB some 400 ms, so each column is ordered once and kept: a page is
then a mask taken along that order.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Float32, Int32

from pellucid.core.errors import FileFormatError
from pellucid.web.explorer.columns import COLUMNS
from pellucid.web.explorer.database import Database
from pellucid.web.explorer.listing import Filter


class Statistics:
    """Columns by key, float32 with NaN for none; memory: 8 bytes a latent for each column that was sorted by."""

    def __init__(self, columns: dict[str, Float32[np.ndarray, " m"]], base: Statistics | None = None) -> None:
        """Take columns over all latents; `base` holds some of them too, and the orders of those are shared with it."""
        self.columns = columns
        self._base = base
        self.n_latents = len(columns["max"])
        self._orders: dict[str, tuple[np.ndarray, int]] = {}

    @classmethod
    def read(cls, database: Database, path: str, n_latents: int) -> Statistics:
        """Read latents.parquet; FileFormatError if it cannot be read or has not one row for each latent."""
        wanted = {key: column.source for key, column in COLUMNS.items() if column.source}
        names = ", ".join(f'{source} AS "{key}"' for key, source in wanted.items())
        found = database.columns(f"SELECT {names} FROM read_parquet(?) ORDER BY latent", [path])
        numbers = found["latent"]
        if len(numbers) != n_latents or (n_latents and (numbers[0] != 0 or numbers[-1] != n_latents - 1)):
            raise FileFormatError(
                f"{path} has {len(numbers)} rows, wanted one for each of {n_latents} latents. Make it again: "
                f"'pellucid index RUN --replace'."
            )
        return cls({key: np.ma.filled(found[key].astype(np.float32), np.nan) for key in wanted})

    def known(self, key: str) -> bool:
        """Return whether any latent has that statistic."""
        return key in self.columns and not bool(np.isnan(self.columns[key]).all())

    def value(self, key: str, latent: int) -> float | None:
        """Return a statistic of a latent; None if it has none."""
        found = self.columns[key][latent] if key in self.columns else np.nan
        return None if np.isnan(found) else float(found)

    def mask(self, filters: Sequence[Filter]) -> Bool[np.ndarray, " m"] | None:
        """Return which latents pass all filters; None if there are none, so that all do."""
        out: np.ndarray | None = None
        for one in filters:
            values = self.columns.get(one.column)
            if values is None:
                return np.zeros(self.n_latents, dtype=bool)
            inside = ~np.isnan(values)
            if one.low is not None:
                inside &= values >= np.float32(one.low)
            if one.high is not None:
                inside &= values <= np.float32(one.high)
            out = inside if out is None else out & inside
        return out

    def order(self, key: str, descending: bool) -> Int32[np.ndarray, " m"]:
        """Return the latents by a column, those without it last; equal ones by number, reversed if descending."""
        if self._base is not None and key in self._base.columns:
            return self._base.order(key, descending)
        if key not in self.columns:
            return np.arange(self.n_latents, dtype=np.int32)
        if key not in self._orders:
            self._orders[key] = _rising(self.columns[key])
        rising, known = self._orders[key]
        return np.concatenate([rising[:known][::-1], rising[known:]]) if descending else rising


def _rising(values: Float32[np.ndarray, " m"]) -> tuple[Int32[np.ndarray, " m"], int]:
    """Return the order of the values, NaN last, and how many are numbers.

    Value and number are packed into one integer: sorting those is several times faster than a stable sort of floats.
    """
    bits = np.where(values == 0, np.float32(0), values).view(np.uint32)
    bits = bits ^ np.where(bits >> 31, np.uint32(0xFFFFFFFF), np.uint32(0x80000000))
    missing = np.isnan(values)
    bits[missing] = 0xFFFFFFFF
    packed = (bits.astype(np.uint64) << np.uint64(32)) | np.arange(len(values), dtype=np.uint64)
    packed.sort()
    return (packed & np.uint64(0xFFFFFFFF)).astype(np.int32), int(len(values) - missing.sum())
