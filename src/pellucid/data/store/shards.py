"""One shard: a safetensors file of stored rows, written whole, read through a memory map."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Int
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from pellucid.core import files
from pellucid.core.errors import FileFormatError
from pellucid.core.logging import log
from pellucid.data.store.config import Dtype
from pellucid.data.store.encoding import TYPES
from pellucid.data.store.index import Index, ShardEntry

AGAIN = "Delete that file and run a fit with this store: it is written again from there."


@dataclass
class Piece:
    """Stored rows of places that follow each other, in memory or mapped from a file."""

    first: int
    """Its first place."""
    first_row: int
    """Stored rows before its first."""
    starts: Int[Tensor, " places_and_one"]
    """Where each place begins among the piece's rows, and the end."""
    tensors: dict[str, Tensor]
    """`rows` [n, d] and, for int8, `scale` [n]."""


def write_shard(path: Path, pieces: list[Piece]) -> tuple[int, str]:
    """Write pieces as one file, atomically; return its size and sha256."""
    names = pieces[0].tensors
    tensors = {name: torch.cat([piece.tensors[name] for piece in pieces]) for name in names}
    tensors["counts"] = torch.cat([piece.starts.diff() for piece in pieces]).to(torch.int32)
    with files.atomic_path(path) as inner:
        save_file(tensors, inner)
        return inner.stat().st_size, files.sha256_file(inner)


def without_missing(folder: Path, index: Index) -> Index:
    """Return the index without the first shard whose file is gone and all after it; the log names the file."""
    gone = [number for number, entry in enumerate(index.shards) if not (folder / entry.file).exists()]
    if not gone:
        return index
    log.warning("%s is gone; the store ends before it until it is written again", folder / index.shards[gone[0]].file)
    return index.with_shards(index.shards[: gone[0]])


def check_size(folder: Path, entry: ShardEntry) -> None:
    """Raise FileFormatError if a shard's file is missing or has another size than the index says."""
    path = folder / entry.file
    if not path.is_file():
        raise FileFormatError(f"{path} is missing. Run a fit with this store: it is written again from there.")
    found = path.stat().st_size
    if found != entry.bytes:
        kind = "truncated" if found < entry.bytes else "too long"
        raise FileFormatError(f"{path} is {kind}: it has {found} bytes, wanted {entry.bytes}. {AGAIN}")


def check_sum(folder: Path, entry: ShardEntry) -> None:
    """Raise FileFormatError if a shard's bytes are not those that were written."""
    path = folder / entry.file
    found = files.sha256_file(path)
    if found != entry.sha256:
        raise FileFormatError(f"{path} is damaged: its sha256 is {found}, wanted {entry.sha256}. {AGAIN}")


def map_shard(folder: Path, entry: ShardEntry, width: int, dtype: Dtype) -> Piece:
    """Map a shard into memory; size, checksum, names, types and shapes are checked first.

    Raises FileFormatError naming the file.
    """
    check_size(folder, entry)
    check_sum(folder, entry)
    path = folder / entry.file
    wanted: dict[str, tuple[torch.dtype, tuple[int, ...]]] = {
        "rows": (TYPES[dtype], (entry.rows, width)),
        "counts": (torch.int32, (entry.places,)),
    }
    if dtype == "int8":
        wanted["scale"] = (torch.float32, (entry.rows,))
    _check_header(path, wanted)
    mapped = _map(path, wanted)
    counts = mapped.pop("counts").to(torch.int64)
    starts = torch.cat([torch.zeros(1, dtype=torch.int64), counts.cumsum(0)])
    if bool((counts < 0).any()) or int(starts[-1]) != entry.rows:
        raise FileFormatError(f"{path} says its places hold {int(starts[-1])} rows, but it has {entry.rows}. {AGAIN}")
    return Piece(entry.first, entry.first_row, starts, mapped)


def _check_header(path: Path, wanted: dict[str, tuple[torch.dtype, tuple[int, ...]]]) -> None:
    names = {"F32": torch.float32, "BF16": torch.bfloat16, "I8": torch.int8, "I32": torch.int32}
    try:
        with safe_open(path, framework="pt") as file:
            slices = {name: file.get_slice(name) for name in file.keys()}
            found = {name: (names.get(part.get_dtype()), tuple(part.get_shape())) for name, part in slices.items()}
    except (SafetensorError, OSError) as error:
        raise FileFormatError(f"{path} is not a readable safetensors file: {error}. {AGAIN}") from None
    if found != wanted:
        raise FileFormatError(f"{path} holds {found}, but its index says {wanted}. {AGAIN}")


def _map(path: Path, wanted: dict[str, tuple[torch.dtype, tuple[int, ...]]]) -> dict[str, Tensor]:
    """Map the tensors of a file whose header was checked by safetensors: offsets lie in the file and fit the shapes."""
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        header = json.loads(file.read(length))
    # Copy on write: torch wants memory it may write to, and the file must not change.
    data = np.memmap(path, dtype=np.uint8, mode="c", offset=0)
    mapped = {}
    for name, (dtype, shape) in wanted.items():
        start, end = (8 + length + offset for offset in header[name]["data_offsets"])
        mapped[name] = torch.from_numpy(data[start:end]).view(dtype).reshape(shape)
    return mapped
