"""Search in the text of all examples, and the best example of every latent, without reading their table again.

All examples are windows of the same rows of text, so however many latents there are, there are few different windows: their
texts are kept once each, with the latents that show them.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from jaxtyping import Bool, Int

from pellucid.core.errors import FileFormatError

COLUMNS = ("latent", "quantile", "rank", "row", "start", "peak_position")
LARGEST_TABLE = 2**26
"""Places of text up to which they are numbered without sorting."""


@dataclass(frozen=True)
class Snippet:
    """A latent's best example: its tokens and which of them is the peak."""

    texts: list[str]
    peak: int


class Postings:
    """Different texts, and for each the latents that have it."""

    def __init__(self, keys: Int[np.ndarray, " n"], latents: Int[np.ndarray, " n"], texts: list[str]) -> None:
        """Take for every example the number of its text and its latent, and the texts by number."""
        packed = (keys.astype(np.uint64) << np.uint64(32)) | latents.astype(np.uint64)
        packed.sort()
        self._latents = (packed & np.uint64(0xFFFFFFFF)).astype(np.int32)
        self._starts = np.searchsorted(packed >> np.uint64(32), np.arange(len(texts) + 1, dtype=np.uint64))
        self._texts = pa.array([text.lower() for text in texts], pa.large_string())

    def search(self, words: str, mask: Bool[np.ndarray, " m"]) -> None:
        """Set the mask at every latent that has a text with these words, in any case."""
        found = pc.match_substring(self._texts, words.lower()).to_numpy(zero_copy_only=False)
        mask[self._latents[np.repeat(found, np.diff(self._starts))]] = True


class ExampleTexts:
    """Windows and peak tokens of one dictionary's examples."""

    def __init__(self, path: Path, n_latents: int) -> None:
        """Read examples.parquet once; FileFormatError if it cannot be read."""
        self.n_latents = n_latents
        try:
            with pq.ParquetFile(path) as file:
                self._read(file)
        except (pa.ArrowException, OSError, KeyError, ValueError) as error:
            raise FileFormatError(f"{path} cannot be read: {error}. Make it again: 'pellucid index RUN --replace'.") from None

    def _read(self, file: pq.ParquetFile) -> None:
        table = file.read(list(COLUMNS))
        column = {name: table[name].to_numpy() for name in COLUMNS}
        latents = column["latent"]
        if len(latents) and not (latents.min() >= 0 and latents.max() < self.n_latents):
            raise ValueError(f"latents {latents.min()} to {latents.max()}, wanted 0 to {self.n_latents - 1}")
        self._window_of, n_windows = _numbered(column["row"], column["start"])
        self._windows = _first_texts(file, self._window_of, n_windows)
        self._at = (column["peak_position"] - column["start"]).astype(np.int32)
        tops = np.flatnonzero(column["quantile"] == 0)
        tops = tops[np.lexsort((column["rank"][tops], latents[tops]))]
        self._best = np.full(self.n_latents, -1, dtype=np.int64)
        self._best[latents[tops[::-1]]] = tops[::-1]
        self.windows = Postings(self._window_of, latents, ["".join(texts) for texts in self._windows.to_pylist()])
        self.peaks = self._peaks(*_numbered(column["row"], column["peak_position"]), latents)

    def _peaks(self, place_of: Int[np.ndarray, " n"], n: int, latents: Int[np.ndarray, " n"]) -> Postings:
        example_at = np.zeros(n, dtype=np.int64)
        example_at[place_of[::-1]] = np.arange(len(place_of))[::-1]
        tokens = [self._token(example) for example in example_at.tolist()]
        number = {token: i for i, token in enumerate(dict.fromkeys(tokens))}
        token_of = np.array([number[token] for token in tokens], dtype=np.int64)
        return Postings(token_of[place_of], latents, list(number))

    def _token(self, example: int) -> str:
        texts, at = self._windows[int(self._window_of[example])], int(self._at[example])
        return str(texts[at]) if 0 <= at < len(texts) else ""

    def best(self, latent: int) -> Snippet | None:
        """Return a latent's best example; None if it has none."""
        example = int(self._best[latent])
        if example < 0:
            return None
        return Snippet(self._windows[int(self._window_of[example])].as_py(), int(self._at[example]))


def _numbered(rows: Int[np.ndarray, " n"], positions: Int[np.ndarray, " n"]) -> tuple[Int[np.ndarray, " n"], int]:
    """Number the different (row, position) pairs from 0; return each example's number and how many there are."""
    if len(rows) == 0:
        return np.zeros(0, dtype=np.int64), 0
    if min(rows.min(), positions.min()) < 0:
        raise ValueError("a row or position is negative")
    width = int(positions.max()) + 1
    keys = rows * width + positions
    if (int(rows.max()) + 1) * width > LARGEST_TABLE:
        found, numbers = np.unique(keys, return_inverse=True)
        return numbers, len(found)
    seen = np.zeros((int(rows.max()) + 1) * width, dtype=bool)  # rows are few: a table of all places needs no sorting
    seen[keys] = True
    number = np.cumsum(seen, dtype=np.int64) - 1
    return number[keys], int(number[-1]) + 1


def _first_texts(file: pq.ParquetFile, window_of: Int[np.ndarray, " n"], n: int) -> pa.ListArray:
    """Return the texts of each window, from the first example that shows it: most row groups need not be read."""
    place = np.full(n, -1, dtype=np.int64)
    parts, start, kept = [], 0, 0
    for group in range(file.metadata.num_row_groups):
        stop = start + file.metadata.row_group(group).num_rows
        new, first = np.unique(window_of[start:stop], return_index=True)
        fresh = place[new] < 0
        if fresh.any():
            texts = file.read_row_group(group, ["texts"])["texts"].combine_chunks()
            parts.append(texts.take(pa.array(first[fresh])))
            place[new[fresh]] = kept + np.arange(fresh.sum())
            kept += int(fresh.sum())
        start = stop
    return pa.concat_arrays(parts).take(pa.array(place)) if parts else pa.array([], pa.list_(pa.string()))
