"""The rows of text an index is made of, numbered once for held-out and training text."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
import torch
from jaxtyping import Int
from torch import Tensor

from pellucid.core.errors import ConfigError, DataError
from pellucid.data import Batch, DataSource
from pellucid.features.index.config import IndexConfig


class IndexedText:
    """Rows `first` up to `first + rows`: row r is held-out row r, or training row r - n_held_out from there on."""

    def __init__(self, data: DataSource, config: IndexConfig) -> None:
        """Choose the rows.

        Raises DataError if that part of the data is empty or no text, ConfigError if it has fewer tokens than asked for.
        """
        self.data, self.context = data, data.positions_per_row
        self.first = data.n_held_out if config.part == "train" else 0
        available = {"held_out": data.n_held_out, "train": data.n_train, "all": data.n_held_out + data.n_train}[config.part]
        if available == 0:
            raise DataError(f"no row is in the part '{config.part}' of the data, so there is nothing to index; choose 'all'")
        self.rows = available if config.tokens is None else -(-config.tokens // self.context)
        if self.rows > available:
            whole = data.n_held_out + data.n_train
            raise ConfigError(
                f"{config.tokens} tokens are asked for, but part '{config.part}' has {available * self.context}; ask for at "
                f"most as many, or for part 'all', which has {whole * self.context}"
            )
        self._check_text()

    def spans(self, size: int, start: int = 0) -> Iterator[tuple[int, int]]:
        """Yield (first row, row after the last) of every batch from row `start` on, rows counted from 0.

        No batch holds held-out and training rows.
        """
        border = self.data.n_held_out - self.first
        while start < self.rows:
            stop = min(self.rows, start + size)
            stop = border if start < border < stop else stop
            yield start, stop
            start = stop

    def batches(self, size: int, start: int = 0) -> Iterator[tuple[int, Batch]]:
        """Yield (first row, batch) for each of `spans`."""
        for first, last in self.spans(size, start):
            yield first, self._batch(first, last)

    def ids(self) -> Int[np.ndarray, "rows context"]:
        """Return the token ids of all rows as int32."""
        out = np.empty((self.rows, self.context), dtype=np.int32)
        for start, batch in self.batches(1024):
            ids = batch.inputs["input_ids"]
            out[start : start + len(ids)] = ids.numpy()
        return out

    def texts(self, ids: Int[np.ndarray, " n"]) -> list[str]:
        """Return the text of each token."""
        texts = self.data.tokens_text(Batch({"input_ids": torch.from_numpy(ids).long().unsqueeze(0)}))
        assert texts is not None
        return texts[0]

    def _batch(self, start: int, stop: int) -> Batch:
        rows: Tensor = torch.arange(self.first + start, self.first + stop)
        held_out = self.first + start < self.data.n_held_out
        return self.data.held_out_rows(rows) if held_out else self.data.train_rows(rows - self.data.n_held_out)

    def _check_text(self) -> None:
        batch = self._batch(0, 1)
        text = self.data.tokens_text(batch)
        ids = batch.inputs.get("input_ids") if isinstance(batch.inputs, Mapping) else None
        if text is None or ids is None or ids.shape != (1, self.context):
            raise DataError("examples are shown as text, but the rows of this data source are no text; use text data")
