"""Reading a store: any number of processes at once, also while one writes."""

from __future__ import annotations

import bisect
import time
from pathlib import Path

import torch
from jaxtyping import Float, Int
from torch import Tensor

from pellucid.core.errors import DataError
from pellucid.data.store.encoding import decode
from pellucid.data.store.identity import Identity
from pellucid.data.store.index import read_index
from pellucid.data.store.shards import Piece, check_size, check_sum, map_shard, without_missing


class ActivationStore:
    """Stored rows of one site of one host on one text.

    A place is a row of the data, in the order of the data source's first epoch; it holds as many stored rows as it has
    kept positions. Only whole shards are seen. Sizes are checked when the store is opened, checksums when a shard is
    first read; `verify` checks all of them.
    """

    def __init__(self, folder: str | Path, wanted: Identity | None = None, *, forget_missing: bool = False) -> None:
        """Open a store; FileFormatError if it is damaged, ConfigError if it is not the one wanted.

        With `forget_missing` a store of which a file was deleted ends before that file, and the log says so.
        """
        self.folder = Path(folder)
        self._wanted = wanted
        self._mapped: dict[int, Piece] = {}
        self.unwritten: list[Piece] = []
        """Places after the whole shards that this process is about to write."""
        self.seconds = 0.0
        """Time spent reading."""
        self.index = read_index(self.folder, wanted)
        if forget_missing:
            self.index = without_missing(self.folder, self.index)
        for entry in self.index.shards:
            check_size(self.folder, entry)

    @property
    def width(self) -> int:
        """Numbers in a stored row."""
        return self.index.width

    @property
    def places(self) -> int:
        """Places in whole shards."""
        return self.index.places

    @property
    def known(self) -> int:
        """Places that can be read here: in whole shards or about to be written."""
        return self.unwritten[-1].first + len(self.unwritten[-1].starts) - 1 if self.unwritten else self.places

    @property
    def rows(self) -> int:
        """Stored rows in whole shards."""
        return self.index.rows

    def refresh(self) -> int:
        """See what another process has written since; return the number of places."""
        before = len(self.index.shards)
        self.index = read_index(self.folder, self._wanted)
        for entry in self.index.shards[before:]:
            check_size(self.folder, entry)
        return self.places

    def verify(self) -> None:
        """Check the checksum of every shard; FileFormatError names the first that is damaged."""
        for entry in self.index.shards:
            check_size(self.folder, entry)
            check_sum(self.folder, entry)

    def counts(self, places: Int[Tensor, " r"]) -> Int[Tensor, " r"]:
        """Return how many rows each place holds."""
        spans = [self._span(int(place)) for place in places]
        return torch.tensor([end - start for _, start, end in spans], dtype=torch.int64)

    def take(self, places: Int[Tensor, " r"]) -> Float[Tensor, "n d"]:
        """Return the rows of these places, one place after the other, as float32."""
        began = time.monotonic()
        runs: list[tuple[Piece, int, int]] = []
        for place in places.tolist():
            piece, start, end = self._span(place)
            if runs and runs[-1][0] is piece and runs[-1][2] == start:
                runs[-1] = (piece, runs[-1][1], end)
            else:
                runs.append((piece, start, end))
        out = torch.empty(sum(end - start for _, start, end in runs), self.width)
        at = 0
        for piece, start, end in runs:
            decode({name: tensor[start:end] for name, tensor in piece.tensors.items()}, out[at : at + end - start])
            at += end - start
        self.seconds += time.monotonic() - began
        return out

    def first_rows(self, places: Int[Tensor, " r"]) -> Int[Tensor, " r"]:
        """Return where the rows of each place begin among all stored rows."""
        spans = [(self._span(int(place))) for place in places]
        return torch.tensor([piece.first_row + start for piece, start, _ in spans], dtype=torch.int64)

    def take_rows(self, rows: Int[Tensor, " n"]) -> Float[Tensor, "n d"]:
        """Return stored rows by number, in this order, as float32; DataError if one is not there."""
        began = time.monotonic()
        ends = [entry.first_row + entry.rows for entry in self.index.shards]
        ends += [piece.first_row + int(piece.starts[-1]) for piece in self.unwritten]
        if len(rows) and not 0 <= int(rows.min()) <= int(rows.max()) < (ends or [0])[-1]:
            asked = f"rows {int(rows.min())} to {int(rows.max())}"
            raise DataError(f"{asked} were asked of the store in {self.folder}, which holds {(ends or [0])[-1]}")
        owners = torch.bucketize(rows, torch.tensor(ends), right=True)
        out = torch.empty(len(rows), self.width)
        found = owners.unique().tolist()
        for owner in found:
            piece = self._piece(owner)
            # A window of text mostly lies in one shard, and then nothing is gathered twice.
            where = None if len(found) == 1 else (owners == owner).nonzero().squeeze(1)
            local = (rows if where is None else rows[where]) - piece.first_row
            kept = {name: tensor.index_select(0, local) for name, tensor in piece.tensors.items()}
            if where is None:
                decode(kept, out)
                continue
            part = torch.empty(len(local), self.width)
            decode(kept, part)
            out.index_copy_(0, where, part)
        self.seconds += time.monotonic() - began
        return out

    def _span(self, place: int) -> tuple[Piece, int, int]:
        """Return the piece that holds a place, and where in it."""
        if not 0 <= place < self.known:
            raise DataError(f"place {place} was asked of the store in {self.folder}, which holds {self.known} places")
        if place < self.places:
            number = bisect.bisect_right(self.index.shards, place, key=lambda entry: entry.first) - 1
        else:
            number = len(self.index.shards) + bisect.bisect_right(self.unwritten, place, key=lambda piece: piece.first) - 1
        piece = self._piece(number)
        local = place - piece.first
        return piece, int(piece.starts[local]), int(piece.starts[local + 1])

    def _piece(self, number: int) -> Piece:
        """Return a shard, mapped at its first use, or one of the unwritten pieces after them."""
        shards = self.index.shards
        if number >= len(shards):
            return self.unwritten[number - len(shards)]
        if number not in self._mapped:
            self._mapped[number] = map_shard(self.folder, shards[number], self.width, self.index.identity.dtype)
        return self._mapped[number]
