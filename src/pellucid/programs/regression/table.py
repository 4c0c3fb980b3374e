"""What regression works on: points with named integer columns, one target value each."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Int

from pellucid.programs.language.expression import Expression, Variable, evaluate

TOLERATED = 0.005
"""Largest weighted share of points that an expression may get wrong: a trained network errs now and then."""


@dataclass(frozen=True)
class Table:
    """Distinct points and the target that most of the data has there."""

    names: tuple[str, ...]
    columns: Int[np.ndarray, "m k"]
    target: Int[np.ndarray, " m"]
    weight: Int[np.ndarray, " m"]
    """How often each point was seen."""
    contradicted: float = 0.0
    """Share of the data that has another target than most at its point."""

    @property
    def values(self) -> dict[str, np.ndarray]:
        """Return the columns by name."""
        return {name: self.columns[:, i] for i, name in enumerate(self.names)}

    @property
    def variables(self) -> list[Expression]:
        """Return a variable for each column."""
        return [Variable(name) for name in self.names]

    def wrong(self, expression: Expression) -> np.ndarray:
        """Return which points the expression gets wrong."""
        return np.broadcast_to(np.asarray(evaluate(expression, self.values)), self.target.shape) != self.target

    def share_wrong(self, wrong: np.ndarray) -> float:
        """Return the weighted share of wrong points."""
        return float(self.weight[wrong].sum() / max(self.weight.sum(), 1))

    def part(self, keep: np.ndarray) -> Table:
        """Return some of the points."""
        return Table(self.names, self.columns[keep], self.target[keep], self.weight[keep])

    def with_columns(self, kept: list[int]) -> Table:
        """Return the table with some columns only; points that become equal are merged."""
        return collect(tuple(self.names[i] for i in kept), self.columns[:, kept], self.target, self.weight)


def collect(
    names: tuple[str, ...],
    columns: Int[np.ndarray, "n k"],
    target: Int[np.ndarray, " n"],
    weight: Int[np.ndarray, " n"] | None = None,
) -> Table:
    """Return the distinct points of the data, each with its most frequent target (the smallest of those tied)."""
    weight = np.ones(len(target), np.int64) if weight is None else weight
    places = place_of(columns)
    pairs, pair_of = np.unique(np.stack([places, target], 1), axis=0, return_inverse=True)
    counts = np.bincount(pair_of.ravel(), weight, minlength=len(pairs)).astype(np.int64)
    order = np.lexsort((pairs[:, 1], -counts, pairs[:, 0]))
    first = order[np.r_[True, np.diff(pairs[order, 0]) != 0]] if len(order) else order
    seen = np.bincount(places, weight).astype(np.int64)
    example = np.zeros(len(seen), np.int64)
    example[places[::-1]] = np.arange(len(places))[::-1]
    kept = counts[first].sum() / max(weight.sum(), 1)
    return Table(names, columns[example], pairs[first, 1], seen, float(1 - kept))


def place_of(columns: Int[np.ndarray, "n k"]) -> Int[np.ndarray, " n"]:
    """Return a number for each row, equal for equal rows, from 0 up without gaps."""
    places = np.zeros(len(columns), np.int64)
    for column in columns.T:
        codes = np.unique(column, return_inverse=True)[1].ravel()
        places = np.unique(places * (codes.max(initial=0) + 1) + codes, return_inverse=True)[1].ravel()
    return places


def is_function_of(columns: Int[np.ndarray, "n k"], target: Int[np.ndarray, " n"]) -> float:
    """Return the share of the data that contradicts `target` being a function of the columns."""
    key = np.zeros(len(columns), np.int64)
    for column in [*columns.T, target]:
        low, size = int(column.min()), int(np.ptp(column)) + 1
        if int(key.max(initial=0)) >= 2**62 // size:
            key = np.unique(key, return_inverse=True)[1].ravel()
        before, key = key, key * size + (column - low)
    order = np.argsort(key, kind="stable")
    run_starts = np.flatnonzero(np.r_[True, np.diff(key[order]) != 0])
    runs = np.diff(np.r_[run_starts, len(key)])  # equal rows with equal targets
    row_starts = np.flatnonzero(np.r_[True, np.diff(before[order][run_starts]) != 0])
    return float(1 - np.maximum.reduceat(runs, row_starts).sum() / len(key))
