"""Read GGUF files (llama.cpp's weight format) as if hostile: every size is checked against the file before use."""

from __future__ import annotations

import itertools
import math
import mmap
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from pellucid.core.errors import FileFormatError, PellucidError, raise_all

VERSIONS = (2, 3)
MAX_DIMENSIONS = 4
_STRING, _ARRAY = 8, 9
_SCALARS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}


@dataclass(frozen=True)
class TensorInfo:
    """Where one tensor lies: shape is (rows, columns) as in PyTorch, offset is from the start of the file."""

    name: str
    shape: tuple[int, ...]
    kind: int
    offset: int
    n_bytes: int


@dataclass(frozen=True)
class GgufFile:
    """A checked header: metadata by key and tensors by name; the weights stay on disk until `read_tensor`."""

    path: Path
    version: int
    metadata: dict[str, Any]
    tensors: dict[str, TensorInfo]


def read_header(path: Path) -> GgufFile:
    """Read and check everything before the weights.

    Raises FileFormatError if the magic or the version is wrong, the header ends early or contradicts itself, or a
    tensor is declared to lie outside the file.
    """
    with _mapped(path) as data:
        cursor = _Cursor(path, data)
        version = _check_start(cursor)
        n_tensors, n_keys = cursor.scalar("Q"), cursor.scalar("Q")
        cursor.check_count(n_keys, 13, "metadata keys")
        cursor.check_count(n_tensors, 24, "tensors")
        metadata: dict[str, Any] = {}
        for _ in range(n_keys):
            key = cursor.string()
            if key in metadata:
                raise FileFormatError(f"{path} names the metadata key '{key}' twice. Fetch the file again.")
            metadata[key] = cursor.value(cursor.scalar("I"))
        declared = [_declaration(cursor) for _ in range(n_tensors)]
        tensors = _place(path, declared, metadata.get("general.alignment", 32), cursor.at, len(data))
    return GgufFile(path, version, metadata, tensors)


def read_tensor(file: GgufFile, name: str) -> Float[Tensor, "..."]:
    """Return one tensor as float32, dequantised block by block; raises FileFormatError if it holds NaN or infinity."""
    quants = _gguf()
    info = file.tensors[name]
    kind = quants.GGMLQuantizationType(info.kind)
    raw = np.fromfile(file.path, dtype=np.uint8, count=info.n_bytes, offset=info.offset)
    if raw.size != info.n_bytes:
        raise FileFormatError(f"{file.path} ends inside tensor '{name}': it was cut while being read. Fetch it again.")
    try:
        values = quants.dequantize(raw.reshape(*info.shape[:-1], -1), kind)
    except NotImplementedError:
        message = f"{file.path}: tensor '{name}' is stored as {kind.name}, which package gguf cannot dequantise"
        raise FileFormatError(f"{message}. Use a file in Q4_1, Q8_0, F16 or F32.") from None
    tensor = torch.from_numpy(np.array(values, dtype=np.float32)).reshape(info.shape)
    if not torch.isfinite(tensor).all():
        raise FileFormatError(f"{file.path}: tensor '{name}' holds NaN or infinity: the file is damaged. Fetch it again.")
    return tensor


@contextmanager
def _mapped(path: Path) -> Iterator[mmap.mmap]:
    if not path.is_file():
        raise FileFormatError(f"{path} does not exist or is not a file")
    if path.stat().st_size < 24:
        raise FileFormatError(f"{path} has {path.stat().st_size} bytes: too short for a GGUF file. Fetch it again.")
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        yield data


class _Cursor:
    """Walks over the bytes; a read past the end is a FileFormatError, never an allocation."""

    def __init__(self, path: Path, data: mmap.mmap) -> None:
        self.path, self.data, self.at = path, data, 0

    def take(self, n: int) -> bytes:
        if n > len(self.data) - self.at:
            place = f"at byte {self.at} of {len(self.data)}, where {n} more are declared"
            raise FileFormatError(f"{self.path} is truncated or damaged: its header ends {place}. Fetch it again.")
        self.at += n
        return self.data[self.at - n : self.at]

    def scalar(self, code: str) -> Any:
        return struct.unpack("<" + code, self.take(struct.calcsize("<" + code)))[0]

    def string(self) -> str:
        raw = self.take(self.scalar("Q"))
        try:
            return raw.decode()
        except UnicodeDecodeError:
            raise FileFormatError(f"{self.path}: the text ending at byte {self.at} is not UTF-8. Fetch it again.") from None

    def check_count(self, n: int, smallest: int, what: str) -> None:
        left = len(self.data) - self.at
        if n * smallest > left:
            raise FileFormatError(f"{self.path} declares {n} {what}, but only {left} bytes follow. Fetch it again.")

    def value(self, kind: int) -> Any:
        if kind == _STRING:
            return self.string()
        if kind == _ARRAY:
            return self.array()
        if kind not in _SCALARS:
            raise FileFormatError(f"{self.path}: metadata type {kind} near byte {self.at} is unknown. Fetch it again.")
        found = self.scalar(_SCALARS[kind])
        # the shortest decimal that is the same float32: 1e-05, not 9.999999747378752e-06
        return float(str(np.float32(found))) if kind == 6 else found

    def array(self) -> list[Any]:
        kind, n = self.scalar("I"), self.scalar("Q")
        if kind == _STRING:
            self.check_count(n, 8, "texts")
            return [self.string() for _ in range(n)]
        if kind not in _SCALARS:
            raise FileFormatError(f"{self.path}: an array of metadata type {kind} near byte {self.at} is not supported")
        dtype = np.dtype(_SCALARS[kind]).newbyteorder("<")
        return np.frombuffer(self.take(n * dtype.itemsize), dtype=dtype).tolist()


def _check_start(cursor: _Cursor) -> int:
    magic = cursor.take(4)
    if magic != b"GGUF":
        raise FileFormatError(f"{cursor.path} starts with {magic!r}, wanted b'GGUF': not a GGUF file. Fetch it again.")
    version = cursor.scalar("I")
    if version not in VERSIONS:
        big = " (a big-endian file?)" if version & 0xFFFF == 0 else ""
        raise FileFormatError(f"{cursor.path} is GGUF version {version}{big}, wanted one of {VERSIONS}")
    return int(version)


def _declaration(cursor: _Cursor) -> tuple[str, list[int], int, int]:
    """Name, dimensions (fastest first), storage kind, offset into the weights."""
    name, n_dims = cursor.string(), cursor.scalar("I")
    if not 1 <= n_dims <= MAX_DIMENSIONS:
        raise FileFormatError(f"{cursor.path}: tensor '{name}' has {n_dims} dimensions, wanted 1 to {MAX_DIMENSIONS}")
    dims = [cursor.scalar("Q") for _ in range(n_dims)]
    return name, dims, cursor.scalar("I"), cursor.scalar("Q")


def _place(
    path: Path, declared: list[tuple[str, list[int], int, int]], alignment: Any, header: int, size: int
) -> dict[str, TensorInfo]:
    """Check that all tensors have known kinds, whole blocks and bytes of their own inside the file."""
    if not isinstance(alignment, int) or not 1 <= alignment <= 2**20 or alignment & (alignment - 1):
        raise FileFormatError(f"{path}: general.alignment is {alignment!r}, wanted a power of two")
    start = math.ceil(header / alignment) * alignment
    problems: list[str] = []
    tensors: dict[str, TensorInfo] = {}
    for name, dims, kind, offset in declared:
        n_bytes = _n_bytes(dims, kind)
        if name in tensors:
            problems.append(f"tensor '{name}' is declared twice")
        if isinstance(n_bytes, str):
            problems.append(f"tensor '{name}' {n_bytes}")
            continue
        tensors[name] = TensorInfo(name, tuple(reversed(dims)), kind, start + offset, n_bytes)
        if start + offset + n_bytes > size:
            problems.append(f"tensor '{name}' ends at byte {start + offset + n_bytes}, but the file has {size}")
    placed = sorted(tensors.values(), key=lambda info: info.offset)
    problems += [
        f"tensors '{a.name}' and '{b.name}' overlap" for a, b in itertools.pairwise(placed) if a.offset + a.n_bytes > b.offset
    ]
    more = [f"and {len(problems) - 10} more"] if len(problems) > 10 else []
    raise_all(problems[:10] + more, FileFormatError, title=f"{path} is truncated or damaged; fetch it again")
    return tensors


def _n_bytes(dims: list[int], kind: int) -> int | str:
    """Bytes a tensor takes, or what is wrong with it."""
    quants = _gguf()
    try:
        block, block_bytes = quants.GGML_QUANT_SIZES[quants.GGMLQuantizationType(kind)]
    except (KeyError, ValueError):
        return f"has storage kind {kind}, which package gguf does not know"
    if min(dims) < 1:
        return f"has an empty dimension: {dims}"
    if dims[0] % block:
        return f"has rows of {dims[0]} numbers, not whole blocks of {block}"
    return math.prod(dims) // block * block_bytes


def _gguf() -> Any:
    try:
        import gguf
    except ImportError:
        raise PellucidError("reading GGUF needs the package gguf: pip install 'pellucid[get]'") from None
    return gguf
