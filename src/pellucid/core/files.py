"""Files that are written whole or not at all, and read as if hostile."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from pellucid.core.errors import FileFormatError, raise_all


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`; move it there on success, remove it on failure.

    The old file survives a crash, a full disk or an exception. Works for files and for new folders.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    scratch = Path(tempfile.mkdtemp(prefix=f".{path.name}.", dir=path.parent))
    try:
        inner = scratch / path.name
        yield inner
        for part in (*sorted(inner.rglob("*")), inner) if inner.is_dir() else (inner,):
            _sync(part)
        os.replace(inner, path)
        _sync(path.parent)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def write_text(path: Path, text: str, *, atomic: bool = True) -> None:
    """Write text; `atomic` is not needed inside a new folder that is itself written whole or not at all."""
    with atomic_path(path) if atomic else nullcontext(path) as inner:
        inner.write_text(text, encoding="utf-8")


def write_json(path: Path, value: Any, *, atomic: bool = True) -> None:
    """Write indented JSON, `atomic` as in `write_text`; NaN and infinity are refused."""
    write_text(path, json.dumps(value, indent=2, allow_nan=False) + "\n", atomic=atomic)


def read_json(path: Path) -> Any:
    """Read JSON; FileFormatError names the file and the place if it is malformed."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise FileFormatError(f"{path} is not valid JSON: {error}. Is the file complete?") from None


def save_tensors(
    path: Path, tensors: dict[str, torch.Tensor], metadata: dict[str, str] | None = None, *, atomic: bool = True
) -> None:
    """Write a safetensors file; `atomic` as in `write_text`."""
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    with atomic_path(path) if atomic else nullcontext(path) as inner:
        save_file(tensors, inner, metadata=metadata)


def load_tensors(path: Path, shapes: dict[str, tuple[int, ...]] | None = None) -> dict[str, torch.Tensor]:
    """Read a safetensors file; names and shapes are checked against `shapes` before anything is allocated.

    Raises FileFormatError if the file is missing, corrupted, or holds other tensors than wanted.
    """
    try:
        with safe_open(path, framework="pt") as file:
            if shapes is not None:
                found = {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}
                _check_shapes(path, found, shapes)
            return {name: file.get_tensor(name) for name in file.keys()}
    except FileNotFoundError:
        raise FileFormatError(f"{path} does not exist") from None
    except (SafetensorError, OSError) as error:
        raise FileFormatError(f"{path} is not a readable safetensors file: {error}. Fetch or write it again.") from None


def sha256_file(path: Path) -> str:
    """Return the sha256 of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def sha256_tensors(tensors: dict[str, torch.Tensor]) -> str:
    """Return a sha256 over names, dtypes, shapes and bytes, in order of name."""
    digest = hashlib.sha256()
    for name in sorted(tensors):
        tensor = tensors[name].detach().cpu().contiguous()
        digest.update(f"{name}|{tensor.dtype}|{tuple(tensor.shape)}|".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def _check_shapes(path: Path, found: dict[str, tuple[int, ...]], wanted: dict[str, tuple[int, ...]]) -> None:
    problems = [f"tensor '{name}' is missing" for name in sorted(wanted.keys() - found.keys())]
    problems += [f"tensor '{name}' is not used" for name in sorted(found.keys() - wanted.keys())]
    problems += [
        f"tensor '{name}' has shape {found[name]}, wanted {wanted[name]}"
        for name in sorted(found.keys() & wanted.keys())
        if found[name] != wanted[name]
    ]
    raise_all(problems, FileFormatError, title=f"{path} does not hold what its config says")


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
