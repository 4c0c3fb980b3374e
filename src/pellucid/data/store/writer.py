"""Writing a store: one process at a time, in the order of places, resumed after the last whole shard."""

from __future__ import annotations

import shutil
import time
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from pellucid.core.errors import DataError, RunError
from pellucid.core.locks import Lock
from pellucid.data.store.encoding import Error, encode, measure, row_bytes
from pellucid.data.store.identity import Identity
from pellucid.data.store.index import INDEX, Index, ShardEntry, read_index, shard_name
from pellucid.data.store.reader import ActivationStore
from pellucid.data.store.shards import Piece, write_shard


class StoreBusyError(RunError):
    """Another process is writing to the store."""


class StoreWriter:
    """Appends places to a store; a shard is cut every `shard_places` places and written by a thread meanwhile.

    Where shards are cut depends on what is appended only, so a writer that was killed and goes on at `store.known` ends
    with the same bytes. What was appended can be read back from `store` at once.
    """

    def __init__(
        self,
        folder: str | Path,
        identity: Identity,
        *,
        width: int,
        text_rows: int,
        row_dim: int = 0,
        row_shape: tuple[int, ...] = (),
        shard_bytes: int = 64 << 20,
        expected_places: int | None = None,
        provenance: dict[str, Any] | None = None,
    ) -> None:
        """Take the store for writing; StoreBusyError if another process is writing to it."""
        self.folder = Path(folder)
        self._lock = Lock(self.folder)
        if not self._lock.acquire():
            busy = f"another process is writing to the store in {self.folder}. Wait for it, or choose another folder."
            raise StoreBusyError(busy)
        try:
            _sweep(self.folder)
            if not (self.folder / INDEX).exists():
                shape = {"width": width, "text_rows": text_rows, "row_dim": row_dim, "row_shape": row_shape}
                Index(key=identity.key, identity=identity, provenance=provenance or {}, **shape).write(self.folder)
            self.store = ActivationStore(self.folder, identity, forget_missing=True)
            if self.store.index != read_index(self.folder, identity):
                self.store.index.write(self.folder)
            self._check_shape(width, text_rows, row_dim, row_shape)
        except BaseException:
            self._lock.release()
            raise
        self.dtype = identity.dtype
        positions = max(1, int(torch.tensor(row_shape).prod())) if row_shape else 1
        self.shard_places = max(1, shard_bytes // (positions * row_bytes(width, self.dtype)))
        self.expected_places = expected_places or text_rows
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="store-writer")
        self._writing: tuple[Future[Index], int] | None = None
        self._cut = self.store.places
        """Places that are whole or handed to the thread."""
        self._errors: list[Error] = []
        self.seconds = 0.0
        """Time the thread spent writing."""

    def append(self, rows: Float[Tensor, "n d"], counts: Int[Tensor, " r"]) -> None:
        """Append the next places: their rows one after the other, and how many each has.

        Raises DataError if the numbers do not fit, RunError if an earlier shard could not be written.
        """
        store = self.store
        if rows.shape[1] != store.width or int(counts.sum()) != len(rows):
            found = f"{len(rows)} rows of width {rows.shape[1]} for {int(counts.sum())} positions"
            raise DataError(f"{found} were appended to the store in {self.folder}, whose rows have width {store.width}")
        if store.known + len(counts) > store.index.text_rows:
            places = f"{store.known + len(counts)} places"
            raise DataError(f"the store in {self.folder} would hold {places}, but the data has {store.index.text_rows} rows")
        self._settle()
        while len(counts):
            n = min(len(counts), self._cut + self.shard_places - store.known)
            size = int(counts[:n].sum())
            self._add(rows[:size], counts[:n])
            rows, counts = rows[size:], counts[n:]
            if store.known == self._cut + self.shard_places or store.known == store.index.text_rows:
                self._hand_over()

    def close(self, *, finish: bool) -> None:
        """Wait for the thread and give the store back; `finish` writes what does not fill a shard, else it is dropped."""
        try:
            if finish and self.store.known > self._cut:
                self._hand_over()
            self._settle(wait=True)
        finally:
            self._thread.shutdown(wait=True)
            self.store.unwritten.clear()
            self._lock.release()

    def _add(self, rows: Tensor, counts: Tensor) -> None:
        kept = encode(rows, self.dtype)
        if kept["rows"].data_ptr() == rows.data_ptr():
            kept["rows"] = rows.clone()  # the caller may write into its tensor before the thread does
        self._errors.append(measure(rows, kept))
        last = self.store.unwritten[-1] if self.store.unwritten else None
        first_row = last.first_row + int(last.starts[-1]) if last else self.store.rows
        starts = torch.cat([torch.zeros(1, dtype=torch.int64), counts.to(torch.int64).cumsum(0)])
        self.store.unwritten.append(Piece(self.store.known, first_row, starts, kept))

    def _hand_over(self) -> None:
        """Give everything after the last cut to the thread, once the shard before is written."""
        self._settle(wait=True)
        pieces = list(self.store.unwritten)
        error = sum(self._errors, Error())
        self._errors.clear()
        self._cut = self.store.known
        self._writing = (self._thread.submit(self._write, self.store.index, pieces, error), len(pieces))

    def _settle(self, *, wait: bool = False) -> None:
        """Let the store know of a shard that has been written since."""
        if self._writing is None or not (wait or self._writing[0].done()):
            return
        (future, n), self._writing = self._writing, None
        self.store.index = future.result()
        del self.store.unwritten[:n]

    def _write(self, index: Index, pieces: list[Piece], error: Error) -> Index:
        began = time.monotonic()
        name = shard_name(len(index.shards))
        places = sum(len(piece.starts) - 1 for piece in pieces)
        rows = sum(int(piece.starts[-1]) for piece in pieces)
        try:
            size, sha256 = write_shard(self.folder / name, pieces)
            entry = ShardEntry(
                file=name, first=index.places, places=places, first_row=index.rows, rows=rows, bytes=size, sha256=sha256,
                squared_error=error.squared_error, squared=error.squared,
            )  # fmt: skip
            index = index.with_shards((*index.shards, entry))
            index.write(self.folder)
        except Exception as problem:  # safetensors and the OS each have their own way to say that a disk is full
            per_place = rows * row_bytes(index.width, self.dtype) / places
            wanted = per_place * max(places, self.expected_places - index.places)
            free = shutil.disk_usage(self.folder).free
            raise RunError(
                f"{self.folder / name} could not be written: {problem}. The {len(index.shards)} shards before it are whole. "
                f"The rest of the store takes about {wanted / 2**20:,.1f} MiB and {free / 2**20:,.1f} MiB are free: make "
                f"room and run the same command again, or choose a smaller dtype for the store."
            ) from problem
        self.seconds += time.monotonic() - began
        return index

    def _check_shape(self, width: int, text_rows: int, row_dim: int, row_shape: tuple[int, ...]) -> None:
        index = self.store.index
        found = (index.width, index.text_rows, index.row_dim, index.row_shape)
        if found != (width, text_rows, row_dim, row_shape):
            wanted = f"width {width}, {text_rows} rows of data, positions {row_shape} around dimension {row_dim}"
            was = f"width {found[0]}, {found[1]} rows of data, positions {found[3]} around dimension {found[2]}"
            raise DataError(f"the store in {self.folder} has {was}, but the host now gives {wanted}. Remove the folder.")


def _sweep(folder: Path) -> None:
    """Remove what a killed writer left half-written."""
    for pattern in (".shard-*.*", f".{INDEX}.*", ".sample-*.*"):
        for path in folder.glob(pattern):
            shutil.rmtree(path)
