"""Sequences in a file: CSV, JSON lines or NPZ.

CSV: columns `sequence`, then `x` (or `x1`, `x2`, ...) and `y` (or `y1`, ...); a line is one step, and the lines of one
sequence follow each other. JSON lines: an object {"x": [...], "y": [...]} a line, with lists of numbers, or of lists of
numbers where there are several a step. NPZ: arrays `x` [n, t] or [n, t, i] and `y` likewise.
"""

from __future__ import annotations

import csv
import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pellucid.core.errors import ConfigError, DataError
from pellucid.programs.tasks.examples import Examples

LARGEST_FILE = 2**31
"""Bytes beyond which a data file is not read."""
LARGEST_VALUE = 2**53
"""Numbers from here on are not exact in float64."""

Sequence = tuple[list[Any], list[Any], str]
"""Inputs, outputs, and where they stand in the file."""


def load_examples(path: str | Path) -> Examples:
    """Read sequences and check them.

    Raises DataError naming the place for numbers that are not finite or not whole, for ragged or empty sequences, and for
    two rows with the same inputs up to a step and different outputs there.
    """
    path = Path(path)
    if not path.is_file():
        raise DataError(f"data file {path} does not exist")
    reader = READERS.get(path.suffix.lower())
    if reader is None:
        raise ConfigError(f"data file {path} ends in '{path.suffix}', wanted one of {', '.join(READERS)}")
    if path.stat().st_size > LARGEST_FILE:
        raise DataError(f"data file {path} has {path.stat().st_size} bytes, at most {LARGEST_FILE} are read")
    xs, ys = reader(path)
    if xs.shape[:2] != ys.shape[:2]:
        raise DataError(f"{path}: inputs {tuple(xs.shape)} and outputs {tuple(ys.shape)} differ in rows or steps")
    return Examples(str(path), xs, ys)


def _read_npz(path: Path) -> tuple[Tensor, Tensor]:
    try:
        with zipfile.ZipFile(path) as archive:
            size = sum(item.file_size for item in archive.infolist())
        if size > LARGEST_FILE:
            raise DataError(f"{path} unpacks to {size} bytes, at most {LARGEST_FILE} are read")
        with np.load(path, allow_pickle=False) as file:
            missing = {"x", "y"} - set(file.files)
            if missing:
                raise DataError(f"{path} lacks array '{min(missing)}'; it holds {', '.join(file.files) or 'none'}")
            arrays = {name: file[name] for name in ("x", "y")}
    except (zipfile.BadZipFile, ValueError, EOFError, OSError) as error:
        raise DataError(f"{path} is not a readable NPZ file of plain numbers: {error}") from None
    return _whole(arrays["x"], f"{path} array 'x'"), _whole(arrays["y"], f"{path} array 'y'")


def _whole(array: np.ndarray, where: str) -> Tensor:
    """Return [n, t, i] in int64; DataError for another rank, another kind, or the first number that is not whole."""
    if array.ndim not in (2, 3):
        raise DataError(
            f"{where} has {array.ndim} axes {array.shape}, wanted sequences x steps, or sequences x steps x numbers"
        )
    if array.dtype.kind not in "iufb":
        raise DataError(f"{where} holds {array.dtype}, wanted numbers")
    values = array.astype(np.float64)
    bad = ~np.isfinite(values) | (values != np.round(values)) | (np.abs(values) >= LARGEST_VALUE)
    if bad.any():
        row, step = (int(k) for k in np.argwhere(bad)[0][:2])
        raise DataError(f"{where}, sequence {row + 1} step {step + 1}, is {values[bad][0]}, wanted a whole number below 2^53")
    whole = torch.from_numpy(array.astype(np.int64))
    return whole.unsqueeze(-1) if whole.ndim == 2 else whole


def _read_jsonl(path: Path) -> tuple[Tensor, Tensor]:
    sequences: list[Sequence] = []
    with path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            where = f"{path} line {number}"
            if not line.strip():
                continue
            try:
                row = json.loads(line)
            except (ValueError, RecursionError) as error:
                raise DataError(f"{where} is not valid JSON: {error}. One object a line is wanted") from None
            if not isinstance(row, dict) or not isinstance(row.get("x"), list) or not isinstance(row.get("y"), list):
                raise DataError(f'{where} lacks the lists "x" and "y", wanted an object such as {{"x": [0, 1], "y": [0, 1]}}')
            sequences.append((row["x"], row["y"], where))
    return _stacked(path, sequences)


def _read_csv(path: Path) -> tuple[Tensor, Tensor]:
    sequences: list[Sequence] = []
    with path.open(newline="", encoding="utf-8", errors="replace") as file:
        rows = csv.reader(file)
        try:
            header = [name.strip() for name in next(rows, [])]
            x_at, y_at = ([k for k, name in enumerate(header) if _is(name, letter)] for letter in "xy")
            if "sequence" not in header or not x_at or not y_at:
                raise DataError(
                    f"{path} has columns {header}, wanted 'sequence', 'x' (or 'x1', 'x2', ...) and 'y' (or 'y1', ...)"
                )
            key_at, last = header.index("sequence"), None
            for row in rows:
                where = f"{path} line {rows.line_num}"
                if len(row) != len(header):
                    raise DataError(f"{where} has {len(row)} fields, the header has {len(header)}")
                if row[key_at] != last:
                    last = row[key_at]
                    sequences.append(([], [], where))
                sequences[-1][0].append([_parsed(row[k], where) for k in x_at])
                sequences[-1][1].append([_parsed(row[k], where) for k in y_at])
        except csv.Error as error:
            raise DataError(f"{path} line {rows.line_num} is not valid CSV: {error}") from None
    return _stacked(path, sequences)


def _is(name: str, letter: str) -> bool:
    return name == letter or (name[:1] == letter and name[1:].isdecimal())


def _parsed(text: str, where: str) -> float | int:
    try:
        return int(text)
    except ValueError:
        try:
            return float(text)
        except ValueError:
            raise DataError(f"{where} holds {text!r:.40}, wanted a number") from None


def _stacked(path: Path, sequences: list[Sequence]) -> tuple[Tensor, Tensor]:
    """Return [n, t, i] and [n, t, o]; DataError naming the first sequence that is empty or unlike the first one."""
    if not sequences:
        raise DataError(f"{path} holds no sequences")
    rows = [(_steps(xs, f"{where}, x"), _steps(ys, f"{where}, y"), where) for xs, ys, where in sequences]
    length, widths, first = len(rows[0][0]), (len(rows[0][0][0]), len(rows[0][1][0])), rows[0][2]
    for xs, ys, where in rows:
        if len(xs) != len(ys):
            raise DataError(f"{where}: {len(xs)} inputs but {len(ys)} outputs; every input needs its output")
        if len(xs) != length:
            raise DataError(f"{where}: {len(xs)} steps, but {first} has {length}; cut or split sequences to one length")
        if (len(xs[0]), len(ys[0])) != widths:
            raise DataError(f"{where}: {(len(xs[0]), len(ys[0]))} numbers a step in and out, but {first} has {widths}")
    return torch.tensor([row[0] for row in rows]), torch.tensor([row[1] for row in rows])


def _steps(values: list[Any], where: str) -> list[list[int]]:
    """Return the numbers of each step; DataError for none, for ragged steps and for what is not a whole number."""
    if not values:
        raise DataError(f"{where}: the sequence is empty")
    steps = [value if isinstance(value, list) else [value] for value in values]
    for t, step in enumerate(steps):
        if not step or len(step) != len(steps[0]):
            raise DataError(f"{where}: step {t + 1} has {len(step)} numbers, step 1 has {len(steps[0])}")
        for value in step:
            if isinstance(value, bool) or not isinstance(value, (int, float)):
                raise DataError(f"{where}: step {t + 1} is {value!r:.40}, wanted a whole number")
            if not abs(value) < LARGEST_VALUE or value != int(value):
                raise DataError(f"{where}: step {t + 1} is {value}, wanted a whole number below 2^53")
    return [[int(value) for value in step] for step in steps]


READERS: dict[str, Callable[[Path], tuple[Tensor, Tensor]]] = {".csv": _read_csv, ".jsonl": _read_jsonl, ".npz": _read_npz}
"""Ending -> reader."""
