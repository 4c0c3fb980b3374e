"""What every data source gives: batches that depend on the seed, the step and the size only."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from pellucid.core.errors import ConfigError, DataError, raise_all
from pellucid.hosts.trees import map_tensors


@dataclass(frozen=True)
class Batch:
    """Some rows of a data source, ready for a host."""

    inputs: Any
    """What the host is called with: a tensor, a tuple of tensors or a dict of keyword tensors."""

    keep: Bool[Tensor, " ..."] | None = None
    """True where a dictionary sees the position; None means everywhere. For text: [batch, context]."""

    labels: Int[Tensor, " ..."] | None = None
    """Next-token ids (text: [batch, context], -100 where there is none) or class labels; None if unknown."""

    def to(self, device: torch.device | str) -> Batch:
        """Return the batch with every tensor on `device`."""
        return Batch(
            map_tensors(self.inputs, lambda tensor: tensor.to(device)),
            None if self.keep is None else self.keep.to(device),
            None if self.labels is None else self.labels.to(device),
        )


class DataSource(ABC):
    """Rows to train on and rows held out, both by random access.

    The training rows are walked in one permutation after another, each drawn from (seed, epoch): batch `step` of `size`
    rows holds the places [step * size, (step + 1) * size) of that endless walk. So a batch may cross the end of an
    epoch, every epoch visits each row once, and a resumed fit needs the step number only.
    """

    def __init__(self, n_train: int, n_held_out: int, positions_per_row: int, seed: int) -> None:
        self.n_train = n_train
        """Rows to train on."""
        self.n_held_out = n_held_out
        """Rows held out."""
        self.positions_per_row = positions_per_row
        """Positions a row holds before any is excluded (text: the context)."""
        self.seed = seed
        self._epoch: tuple[int, Int[Tensor, " rows"]] | None = None

    @abstractmethod
    def train_rows(self, indices: Int[Tensor, " batch"]) -> Batch:
        """Return the training rows with these indices, in this order."""

    @abstractmethod
    def held_out_rows(self, indices: Int[Tensor, " batch"]) -> Batch:
        """Return the held-out rows with these indices, in this order."""

    @abstractmethod
    def digest(self) -> str:
        """Return a sha256 of the data and of the settings that shape it."""

    @abstractmethod
    def describe(self) -> dict[str, Any]:
        """Return what a run folder should say about the data, as JSON values."""

    def tokens_text(self, batch: Batch) -> list[list[str]] | None:
        """Return the text of every token of a batch, or None where rows are no text."""
        return None

    def train_batch(self, step: int, size: int) -> Batch:
        """Return batch number `step` of `size` training rows; see the class for which rows these are."""
        return self.train_rows(self.train_indices(step, size))

    def train_indices(self, step: int, size: int) -> Int[Tensor, " batch"]:
        """Return the indices of the rows in batch `step`.

        Raises ConfigError if the step is negative or the size below 1.
        """
        check_batch(step, size)
        place, end = step * size, (step + 1) * size
        parts = []
        while place < end:
            epoch, first = divmod(place, self.n_train)
            part = self._permutation(epoch)[first : first + end - place]
            parts.append(part)
            place += len(part)
        return torch.cat(parts)

    def held_out_batches(self, size: int, limit_rows: int | None = None) -> Iterator[Batch]:
        """Yield the held-out rows in their fixed order, `size` at a time; the last batch may be smaller.

        `limit_rows` stops after the first so many rows. Raises ConfigError if a number is below 1 and DataError if no
        row is held out.
        """
        problems = [f"batch size is {size}, wanted 1 or more"] if size < 1 else []
        if limit_rows is not None and limit_rows < 1:
            problems.append(f"limit_rows is {limit_rows}, wanted 1 or more, or None")
        raise_all(problems, ConfigError)
        if self.n_held_out == 0:
            raise DataError("no row is held out (held_out is 0), so nothing can be scored; set held_out to 0.1, say")
        n_rows = min(self.n_held_out, limit_rows or self.n_held_out)
        starts = range(0, n_rows, size)
        return (self.held_out_rows(torch.arange(start, min(start + size, n_rows))) for start in starts)

    def _permutation(self, epoch: int) -> Int[Tensor, " rows"]:
        if self._epoch is None or self._epoch[0] != epoch:
            generator = seeded("epoch", self.seed, epoch)
            self._epoch = (epoch, torch.randperm(self.n_train, generator=generator))
        return self._epoch[1]


def check_batch(step: int, size: int) -> None:
    """Raise ConfigError if there is no batch `step` of `size` rows."""
    problems = [f"step is {step}, wanted 0 or more"] if step < 0 else []
    problems += [f"batch size is {size}, wanted 1 or more"] if size < 1 else []
    raise_all(problems, ConfigError)


def seeded(*parts: str | int) -> torch.Generator:
    """Return a generator whose state depends on all parts, so that neighbouring seeds and epochs share nothing."""
    digest = hashlib.sha256("|".join(str(part) for part in parts).encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:8], "big") >> 1)
