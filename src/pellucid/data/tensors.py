"""Tensors as a data source: for hosts that are no language models."""

from __future__ import annotations

import hashlib
import math
from typing import Any

import torch
from jaxtyping import Int
from torch import Tensor

from pellucid.core.errors import ConfigError, DataError, raise_all
from pellucid.core.files import sha256_tensors
from pellucid.data.source import Batch, DataSource, seeded
from pellucid.hosts.trees import map_tensors

Inputs = Tensor | tuple[Tensor, ...] | dict[str, Tensor]


class TensorData(DataSource):
    """Rows of one tensor, or the same rows of several, that the caller already has in memory.

    `inputs` is what the host is called with: a tensor, a tuple of tensors or a dict of keyword tensors. Rows lie along
    `row_dim` of each (0; 1 for a recurrent host that wants time first), also in the batches. `labels` has rows along
    `row_dim` too, or is one label a row, [rows]. round(held_out * rows) rows drawn from the seed are held out, at least
    1 and at most all but one unless `held_out` is 0; equal rows are not looked for.

    `positions_per_row` defaults to what the first tensor suggests: each number of an integer tensor is a position, and
    each vector along the last axis of a floating one. Give it where that is wrong, as for images: height * width.

    Raises ConfigError for a setting out of range, and DataError listing every tensor that is empty, not finite, or has
    another number of rows than the first.
    """

    def __init__(
        self,
        inputs: Inputs,
        labels: Tensor | None = None,
        held_out: float = 0.1,
        seed: int = 0,
        row_dim: int = 0,
        positions_per_row: int | None = None,
    ) -> None:
        named = _named(inputs)
        problems = [f"held_out is {held_out}, wanted 0 or more and below 1"] if not 0 <= held_out < 1 else []
        problems += [f"row_dim is {row_dim}, wanted 0 or 1"] if row_dim not in (0, 1) else []
        problems += [f"positions_per_row is {positions_per_row}, wanted 1 or more"] if (positions_per_row or 1) < 1 else []
        raise_all(problems, ConfigError)
        n_rows = _check(named, labels, row_dim, held_out)
        n_held_out = max(1, min(round(held_out * n_rows), n_rows - 1)) if held_out > 0 else 0
        first = next(iter(named.values()))
        per_row = _positions(first, row_dim) if positions_per_row is None else positions_per_row
        super().__init__(n_rows - n_held_out, n_held_out, per_row, seed)
        self._inputs, self._labels, self._row_dim, self._share = inputs, labels, row_dim, held_out
        order = torch.randperm(n_rows, generator=seeded("split", seed))
        self._rows_held_out, self._rows_train = order[:n_held_out], order[n_held_out:]
        self._digest: str | None = None

    def train_rows(self, indices: Int[Tensor, " batch"]) -> Batch:
        """Return training rows as a batch."""
        return self._batch(self._rows_train[indices])

    def held_out_rows(self, indices: Int[Tensor, " batch"]) -> Batch:
        """Return held-out rows as a batch."""
        return self._batch(self._rows_held_out[indices])

    def digest(self) -> str:
        """Return the sha256 over every tensor and the settings that split them."""
        if self._digest is None:
            tensors = {f"inputs.{name}": tensor for name, tensor in _named(self._inputs).items()}
            if self._labels is not None:
                tensors["labels"] = self._labels
            settings = f"{self._share}|{self.seed}|{self._row_dim}|"
            self._digest = hashlib.sha256((settings + sha256_tensors(tensors)).encode()).hexdigest()
        return self._digest

    def describe(self) -> dict[str, Any]:
        """Return shapes, rows, settings and digest."""
        return {
            "source": "tensors",
            "inputs": {name: _shape(tensor) for name, tensor in _named(self._inputs).items()},
            "labels": None if self._labels is None else _shape(self._labels),
            "rows_train": self.n_train,
            "rows_held_out": self.n_held_out,
            "row_dim": self._row_dim,
            "positions_per_row": self.positions_per_row,
            "seed": self.seed,
            "excluded": "no position is excluded",
            "digest": self.digest(),
        }

    def _batch(self, rows: Int[Tensor, " batch"]) -> Batch:
        inputs = map_tensors(self._inputs, lambda tensor: tensor.index_select(self._row_dim, rows.to(tensor.device)))
        labels = self._labels
        if labels is not None:
            labels = labels.index_select(_label_dim(labels, self._row_dim), rows.to(labels.device))
        return Batch(inputs, None, labels)


def _named(inputs: Inputs) -> dict[str, Tensor]:
    """The tensors by a name for messages."""
    if isinstance(inputs, Tensor):
        return {"inputs": inputs}
    if isinstance(inputs, dict):
        named = {f"inputs['{name}']": value for name, value in inputs.items()}
    else:
        named = {f"inputs[{index}]": value for index, value in enumerate(inputs)}
    if not named:
        raise DataError("inputs holds no tensor; wanted a tensor, a tuple of tensors or a dict of them")
    return named


def _check(named: dict[str, Tensor], labels: Tensor | None, row_dim: int, held_out: float) -> int:
    """Return the number of rows; DataError lists every tensor that does not fit."""
    everything = named if labels is None else {**named, "labels": labels}
    rows: dict[str, int] = {}
    problems = []
    for name, tensor in everything.items():
        dim = _label_dim(tensor, row_dim) if name == "labels" else row_dim
        if tensor.ndim <= dim:
            problems.append(f"{name} has shape {tuple(tensor.shape)}, which has no dimension {dim} for rows")
            continue
        rows[name] = tensor.shape[dim]
        if tensor.is_floating_point() and (n := int((~tensor.isfinite()).sum())):
            problems.append(f"{name} holds {n} values that are not finite (NaN or infinite); remove or fill those rows")
    if labels is not None and (labels.is_floating_point() or labels.is_complex() or labels.dtype == torch.bool):
        problems.append(f"labels are {labels.dtype}, wanted class numbers of an integer type; convert them with .long()")
    first, wanted = next(iter(rows.items()), ("inputs", 0))
    problems += [f"{name} has {n} rows, but {first} has {wanted}; wanted as many" for name, n in rows.items() if n != wanted]
    least = 2 if held_out > 0 else 1
    if rows and wanted < least:
        problems.append(
            f"{first} has {wanted} rows along dimension {row_dim}, wanted at least {least} (held_out is {held_out})"
        )
    raise_all(problems, DataError)
    return wanted


def _label_dim(labels: Tensor, row_dim: int) -> int:
    return row_dim if labels.ndim > 1 else 0


def _positions(tensor: Tensor, row_dim: int) -> int:
    sizes = [size for dim, size in enumerate(tensor.shape) if dim != row_dim]
    return max(1, math.prod(sizes[:-1] if tensor.is_floating_point() else sizes))


def _shape(tensor: Tensor) -> str:
    return f"{tuple(tensor.shape)} {str(tensor.dtype).removeprefix('torch.')}"
