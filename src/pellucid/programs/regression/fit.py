"""Regression: the shortest expression that gives a table's target."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from pellucid.programs.language.expression import Constant, Expression, Lookup, bits, parts
from pellucid.programs.language.simplify import simplified
from pellucid.programs.regression import linear_form
from pellucid.programs.regression.additive import additive
from pellucid.programs.regression.affine_fit import affine, affine_modulo
from pellucid.programs.regression.bank import Bank
from pellucid.programs.regression.boolean import boolean_form
from pellucid.programs.regression.decisions import decision_list
from pellucid.programs.regression.goal import matches
from pellucid.programs.regression.rankings import rankings
from pellucid.programs.regression.table import TOLERATED, Table

BITS_OF_ERROR = 20.0
"""What a wrong point costs: about its place and its value."""
SHORT = 45.0
"""A formula of at most this many bits ends the search before the next, costlier kind."""
BANK_POINTS = 256
LARGEST_TABLE = 512


@dataclass(frozen=True)
class Fit:
    """An expression for a table's target."""

    expression: Expression
    n_wrong: int
    share_wrong: float

    @property
    def score(self) -> float:
        """Description length of the expression and of the points it gets wrong, in bits."""
        return bits(self.expression) + BITS_OF_ERROR * self.n_wrong

    @property
    def is_formula(self) -> bool:
        """Say whether there is no literal table in it."""
        return not any(isinstance(part, Lookup) for part in parts(self.expression))


def fit(table: Table, constants: Sequence[int] = (), name: str = "TABLE", effort: int = 3) -> Fit | None:
    """Return the best expression; None if none is right on all but 0.5 % of the data.

    Kinds are tried from simple to costly: constant, affine, modular, a function of one small linear form, Boolean, a sum
    of functions (effort 1), enumerated expressions (2), decision lists (3), a literal table. `constants` come from the
    data. `name` is what a table would be called.
    """
    if not len(table.target):
        return None
    best: Fit | None = None
    for stage in (_simple, _enumerated)[: 1 if effort < 2 else 2]:
        for expression in stage(table, constants, name, effort):
            found = judge(table, simplified(expression))
            if found is not None and (best is None or found.score < best.score):
                best = found
        if best is not None and best.is_formula and best.n_wrong == 0 and best.score <= SHORT:
            break
    if best is None and len(table.target) <= LARGEST_TABLE:
        best = judge(table, literal(table, name))
    return best


def judge(table: Table, expression: Expression) -> Fit | None:
    """Return the fit of an expression; None if it is wrong too often."""
    wrong = table.wrong(expression)
    share = table.share_wrong(wrong)
    return Fit(expression, int(wrong.sum()), share) if share <= TOLERATED else None


def literal(table: Table, name: str) -> Expression:
    """Return the table itself as an expression."""
    order = np.lexsort(table.columns.T[::-1])
    entries = tuple((tuple(int(v) for v in table.columns[i]), int(table.target[i])) for i in order)
    return Lookup(name, entries, tuple(table.variables))


def _simple(table: Table, constants: Sequence[int], name: str, effort: int) -> Iterator[Expression]:
    yield Constant(int(np.bincount(table.target - table.target.min(), table.weight).argmax() + table.target.min()))
    for kind in (affine, affine_modulo, boolean_form):
        found = kind(table)
        if found is not None:
            yield found
    yield from rankings(table)
    yield from linear_form.fits(table, name)
    found = additive(table, name)
    if found is not None:
        yield found


def _enumerated(table: Table, constants: Sequence[int], name: str, effort: int) -> Iterator[Expression]:
    keep = np.argsort(-table.weight, kind="stable")
    generator = np.random.default_rng(0)
    if len(keep) > BANK_POINTS:  # points seen often carry fewer of the network's errors; the rest shows the range
        keep = np.concatenate([keep[: BANK_POINTS // 2], generator.permutation(keep[BANK_POINTS // 2 :])[: BANK_POINTS // 2]])
    sample = table.part(keep)
    bank = Bank(sample, data_constants(table, constants))
    bank.grow_pairs()
    bank.seed(sample)
    bank.grow_triples()
    yield from matches(bank, sample.target)
    if effort >= 3:
        found = decision_list(bank, sample.target)
        if found is not None:
            yield found


def data_constants(table: Table, constants: Sequence[int]) -> list[int]:
    """Return 0, 1, 2, the given constants, and the ends of the target and one beyond, without repetition."""
    low, high = int(table.target.min()), int(table.target.max())
    return list(dict.fromkeys([0, 1, 2, *constants, low, high, high + 1]))[:9]
