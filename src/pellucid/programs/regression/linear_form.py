"""Targets that are a function of one small linear form of the columns: sums mod n, carries, thresholds, equalities."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from itertools import product

import numpy as np

from pellucid.programs.language.expression import Expression, linear
from pellucid.programs.regression.scalar import scalar_function
from pellucid.programs.regression.table import TOLERATED, Table, collect

SAMPLE = 1500
MOST_FORMS = 12
"""Linear forms for which a function is looked for, shortest first."""
LARGEST_TABLE = 64


@lru_cache(maxsize=16)
def weight_vectors(n_columns: int) -> tuple[tuple[int, ...], ...]:
    """Return small integer weights, shortest first; of w and -w only the one with a positive first weight."""
    largest = {1: 1, 2: 7, 3: 4, 4: 2, 5: 1}.get(n_columns, 1)
    if n_columns > 7:
        return ()
    found = [w for w in product(range(-largest, largest + 1), repeat=n_columns) if next((v > 0 for v in w if v), False)]
    return tuple(sorted(found, key=lambda w: (sum(map(abs, w)), sum(v < 0 for v in w), w.count(0))))


def fits(table: Table, name: str) -> Iterator[Expression]:
    """Yield expressions g(w . columns), at first those without a table (called `name`) in them."""
    if not len(table.target):
        return
    sample = table if len(table.target) <= SAMPLE else table.part(_spread(len(table.target)))
    forms = []
    for weights in weight_vectors(len(table.names)):
        form = sample.columns @ np.array(weights)
        if _impurity(form, sample) <= TOLERATED:
            forms.append(weights)
            if len(forms) == MOST_FORMS:
                break
    for weights in forms:
        form = table.columns @ np.array(weights)
        values, target = _majority(form, table)
        g = scalar_function(values, target, name if len(values) <= LARGEST_TABLE else None)
        if g is not None:
            yield g(linear(list(weights), table.variables))


def _spread(n: int) -> np.ndarray:
    return np.sort(np.random.default_rng(0).permutation(n)[:SAMPLE])


def _impurity(form: np.ndarray, table: Table) -> float:
    """Return the share of neighbouring points with equal form and different target."""
    order = np.lexsort((table.target, form))
    same = np.diff(form[order]) == 0
    return float(np.mean(same & (np.diff(table.target[order]) != 0))) if len(order) > 1 else 0.0


def _majority(form: np.ndarray, table: Table) -> tuple[np.ndarray, np.ndarray]:
    merged = collect(("s",), form[:, None], table.target, table.weight)
    return merged.columns[:, 0], merged.target
