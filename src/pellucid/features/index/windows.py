"""Which stretches of text are shown of each latent, and its codes in them."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
from jaxtyping import Int

from pellucid.features.index.config import IndexConfig
from pellucid.features.index.hashes import mixed
from pellucid.features.index.schema import DECILES, EXAMPLES
from pellucid.features.index.shards import Block
from pellucid.features.index.statistics import ascending
from pellucid.features.index.text import IndexedText


class Windows:
    """Makes the examples of a block of latents.

    Quantile 0: of each row of text the latent's first greatest code; the `top` rows where that is greatest, of equal ones
    the earlier first. Quantile q = 1 .. 10: with the latent's n positive codes in ascending order (equal ones by position),
    decile q holds those at places r, counted from 0, with floor(10 r / n) = q - 1; `per_decile` of them are drawn by a hash of
    (seed, latent, position) and shown strongest first. A latent with fewer than 10 codes leaves some deciles empty. The two
    kinds are drawn independently: the same position may be shown twice.

    The window is `before` tokens before and `after` tokens after the peak, fewer at the edges of its row.
    """

    def __init__(self, text: IndexedText, config: IndexConfig) -> None:
        self.config, self.context, self.first_row = config, text.context, text.first
        self.ids = text.ids()
        self.vocabulary = np.unique(self.ids)
        self.texts = pa.array(text.texts(self.vocabulary), pa.string())

    def table(self, block: Block) -> pa.Table:
        """Return the examples as a table of `EXAMPLES`."""
        top, rank = self._top(block)
        sampled, decile, place = self._sampled(block)
        entries = np.concatenate([top, sampled])
        quantile = np.concatenate([np.zeros(len(top), np.int64), decile])
        rank = np.concatenate([rank, place])
        latents = block.latents[entries]
        order = np.lexsort((rank, quantile, latents))
        entries, quantile, rank, latents = entries[order], quantile[order], rank[order], latents[order]
        row, peak = np.divmod(block.positions[entries], self.context)
        start = np.maximum(peak - self.config.before, 0)
        lengths = np.minimum(peak + self.config.after + 1, self.context) - start
        offsets = np.concatenate([[0], lengths.cumsum()])
        cells = np.arange(offsets[-1]) - np.repeat(offsets[:-1], lengths) + np.repeat(row * self.context + start, lengths)
        tokens = self.ids.reshape(-1)[cells]
        where = pa.array(offsets.astype(np.int32))
        columns = {
            "latent": latents + block.first,
            "quantile": quantile,
            "rank": rank,
            "row": row + self.first_row,
            "peak_position": peak,
            "peak": block.values[entries],
            "start": start,
            "tokens": pa.ListArray.from_arrays(where, pa.array(tokens)),
            "texts": pa.ListArray.from_arrays(where, self.texts.take(pa.array(np.searchsorted(self.vocabulary, tokens)))),
            "codes": pa.ListArray.from_arrays(where, pa.array(self._codes(block, np.repeat(latents, lengths), cells))),
        }
        arrays = [
            column if isinstance(column, pa.ListArray) else pa.array(column).cast(EXAMPLES.field(name).type)
            for name, column in columns.items()
        ]
        return pa.Table.from_arrays(arrays, schema=EXAMPLES)

    def _top(self, block: Block) -> tuple[Int[np.ndarray, " n"], Int[np.ndarray, " n"]]:
        """Return the entries with the greatest codes, one a row of text, and their ranks."""
        if not len(block.values):
            nothing = np.empty(0, np.int64)
            return nothing, nothing
        latents, rows = block.latents, block.positions // self.context
        begins = np.flatnonzero(np.concatenate([[True], (np.diff(latents) != 0) | (np.diff(rows) != 0)]))
        stretch = np.repeat(np.arange(len(begins)), np.diff(np.append(begins, len(rows))))
        greatest = np.flatnonzero(block.values == np.maximum.reduceat(block.values, begins)[stretch])
        peaks = greatest[np.unique(stretch[greatest], return_index=True)[1]]
        ordered = peaks[np.lexsort((peaks, -block.values[peaks], latents[peaks]))]
        rank = _rank(latents[ordered])
        return ordered[rank < self.config.top], rank[rank < self.config.top]

    def _sampled(self, block: Block) -> tuple[Int[np.ndarray, " n"], Int[np.ndarray, " n"], Int[np.ndarray, " n"]]:
        """Return a sample of entries from each decile, their deciles and ranks."""
        order, _ = ascending(block)
        latents = block.latents
        n = np.diff(block.starts)[latents]
        group = latents * DECILES + DECILES * (np.arange(len(latents)) - block.starts[latents]) // np.maximum(n, 1)
        drawn = np.lexsort((mixed(self.config.seed, latents + block.first, block.positions[order]), group))
        drawn = np.sort(drawn[_rank(group[drawn]) < self.config.per_decile])[::-1]
        drawn = drawn[np.argsort(group[drawn], kind="stable")]  # strongest first in each group
        return order[drawn], group[drawn] % DECILES + 1, _rank(group[drawn])

    def _codes(self, block: Block, latents: Int[np.ndarray, " c"], cells: Int[np.ndarray, " c"]) -> np.ndarray:
        """Return each latent's code at a position, 0 where it is silent."""
        size = self.ids.size
        keys, wanted = block.latents * size + block.positions, latents * size + cells
        place = np.minimum(np.searchsorted(keys, wanted), max(len(keys) - 1, 0))
        return np.where(keys[place] == wanted, block.values[place], np.float32(0)) if len(keys) else np.zeros(0, np.float32)


def _rank(groups: Int[np.ndarray, " n"]) -> Int[np.ndarray, " n"]:
    """Return the place of each entry in its group; the groups are in ascending order."""
    return np.arange(len(groups)) - np.searchsorted(groups, groups)
