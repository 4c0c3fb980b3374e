"""Explanations of one dictionary by one explainer, with their scores."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pellucid.core.errors import FileFormatError
from pellucid.web.explorer.columns import SCORES
from pellucid.web.explorer.example_texts import Postings

FOLDER = "explanations"


@dataclass(frozen=True)
class Score:
    """A score of one explanation."""

    name: str
    value: float
    low: float | None
    high: float | None
    """95 % interval."""
    shuffled: float | None
    """The same score with the explanation of another latent: chance."""
    n: int | None
    """Contexts it was measured on."""


class Explanations:
    """Texts and scores by latent."""

    def __init__(self, path: Path, n_latents: int) -> None:
        """Read the file; FileFormatError if it is no table of explanations of that many latents."""
        try:
            table = pq.read_table(path)
            latents = table["latent"].to_numpy()
            self._texts = table["text"].combine_chunks().cast(pa.string())
            self._scores = {
                name: np.asarray(table[name].cast(pa.float32()).to_numpy(), dtype=np.float32)
                for name in table.column_names
                if name.startswith(SCORES)
            }
        except (pa.ArrowException, OSError, KeyError) as error:
            raise FileFormatError(f"{path} cannot be read: {error}. Make it again with 'pellucid explain RUN'.") from None
        if len(latents) and not (latents.min() >= 0 and latents.max() < n_latents):
            raise FileFormatError(f"{path} explains latents {latents.min()} to {latents.max()}, wanted 0 to {n_latents - 1}")
        self._row = np.full(n_latents, -1, dtype=np.int64)
        self._row[latents] = np.arange(len(latents))
        self.latents = latents
        self.postings = Postings(np.arange(len(latents)), latents, [text or "" for text in self._texts.to_pylist()])

    def text(self, latent: int) -> str | None:
        """Return a latent's explanation; None if it has none."""
        row = int(self._row[latent])
        return None if row < 0 else self._texts[row].as_py()

    def scores(self, latent: int) -> list[Score]:
        """Return the scores a latent's explanation has."""
        row = int(self._row[latent])
        found = [name for name in SCORES if row >= 0 and self._number(name, row) is not None]
        out = []
        for name in found:
            low, high, shuffled, n = (self._number(f"{name}_{part}", row) for part in ("low", "high", "shuffled", "n"))
            out.append(Score(name, self._number(name, row) or 0.0, low, high, shuffled, None if n is None else int(n)))
        return out

    def columns(self) -> dict[str, np.ndarray]:
        """Return each score as a column over all latents, NaN for none."""
        out = {}
        for name in SCORES:
            if name in self._scores and not np.isnan(self._scores[name]).all():
                out[name] = np.full(len(self._row), np.nan, dtype=np.float32)
                out[name][self.latents] = self._scores[name]
        return out

    def mean(self, name: str) -> float:
        """Return the mean of a score over the explained latents; -1 if it was not run."""
        values = self._scores.get(name, np.empty(0))
        return float(np.nanmean(values)) if len(values) and not np.isnan(values).all() else -1.0

    def _number(self, name: str, row: int) -> float | None:
        values = self._scores.get(name)
        return None if values is None or np.isnan(values[row]) else float(values[row])
