"""Rows made when they are asked for, without end: what planted features and machines have in common."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any, ClassVar

import torch
from jaxtyping import Int, Shaped
from torch import Tensor

from pellucid.core.config import Config, digest
from pellucid.core.errors import DataError
from pellucid.data.source import DataSource, check_batch, seeded

ENDLESS = 2**62
"""Rows to train on: every step sees new ones."""


class Stream(DataSource):
    """An endless stream of rows, each of which depends on the seed and its number alone, whatever the size of a batch.

    Rows come in blocks, each from a generator of its own, so any row can be drawn without those before. Batch `step` of
    `size` holds the training rows [step * size, (step + 1) * size): rows are independent draws, so there is nothing to
    shuffle and nothing comes twice.
    """

    source: ClassVar[str]
    """What the rows are, in descriptions; part of what a seed means, so changing it changes the data."""
    block_rows: ClassVar[int] = 512
    """Rows drawn from one generator; part of what a seed means too."""

    def __init__(self, config: Config, held_out: int, positions_per_row: int, seed: int) -> None:
        super().__init__(ENDLESS, held_out, positions_per_row, seed)
        self.config = config

    @abstractmethod
    def block(self, generator: torch.Generator) -> tuple[Shaped[Tensor, "rows ..."], ...]:
        """Draw what a block's rows are made of: tensors with `block_rows` rows each."""

    def drawn(self, indices: Int[Tensor, " batch"], *, held_out: bool = False) -> tuple[Shaped[Tensor, "batch ..."], ...]:
        """Return the tensors of `block` for the rows with these indices; DataError if an index is out of range."""
        n_rows = self.n_held_out if held_out else self.n_train
        outside = indices[(indices < 0) | (indices >= n_rows)]
        if len(outside):
            raise DataError(f"row {int(outside[0])} does not exist; wanted 0 to {n_rows - 1}")
        part, blocks = "held out" if held_out else "train", indices // self.block_rows
        found: tuple[Tensor, ...] = ()
        for number in blocks.unique().tolist() or [0]:  # no rows at all still have their shapes
            inside = blocks == number
            made = self.block(seeded(f"{self.source} rows", self.seed, part, number))
            found = found or tuple(tensor.new_zeros(len(indices), *tensor.shape[1:]) for tensor in made)
            for whole, tensor in zip(found, made, strict=True):
                whole[inside] = tensor[indices[inside] % self.block_rows]
        return found

    def train_indices(self, step: int, size: int) -> Int[Tensor, " batch"]:
        """Return the indices of the rows in batch `step`, the next `size` of the stream; ConfigError as for every source."""
        check_batch(step, size)
        return torch.arange(step * size, (step + 1) * size)

    def digest(self) -> str:
        """Return the sha256 of the settings: they decide every number."""
        return digest(self.config)

    def describe(self) -> dict[str, Any]:
        """Return the settings and their digest."""
        return {
            "source": self.source,
            **self.config.model_dump(mode="json"),
            "rows_train": "endless",
            "rows_held_out": self.n_held_out,
            "positions_per_row": self.positions_per_row,
            "excluded": "no position is excluded",
            "digest": self.digest(),
        }
