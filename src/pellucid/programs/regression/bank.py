"""Bottom-up enumeration of small expressions, one for each behaviour on the points of a table."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product

import numpy as np

from pellucid.programs.language.expression import BITS_OF_CAST, BITS_OF_NODE, Call, Constant, Expression, bits, linear
from pellucid.programs.language.operators import OPERATORS
from pellucid.programs.regression.table import Table

LARGEST_VALUE = 10**6
COMMUTATIVE = ("add", "mul", "min", "max", "eq")
ONE_WAY = ("sub", "lt")
BY_CONSTANT = ("mod", "floordiv")


class Bank:
    """Expressions and their values on the points of a table; of equal behaviour only the shortest is kept."""

    def __init__(self, table: Table, constants: Sequence[int], limit: int = 6000) -> None:
        self.limit, self.n_points = limit, len(table.target)
        self._key = np.random.default_rng(7).integers(1, 2**62, self.n_points)
        self._seen: set[int] = set()
        self._makers: list[tuple[str, tuple[int, ...]] | Expression] = []
        self.values = np.zeros((0, self.n_points), np.int64)
        self.bits = np.zeros(0)
        self.truth = np.zeros(0, bool)
        leaves = [*table.variables, *(Constant(c) for c in constants)]
        rows = [*table.columns.T, *(np.full(self.n_points, c) for c in constants)]
        self._append(np.array(rows, np.int64), np.array([bits(leaf) for leaf in leaves]), list(leaves))
        self.n_leaves = len(self.bits)
        self._divisors = [i for i in range(self.n_leaves) if self._is_divisor(i)]

    def _is_divisor(self, i: int) -> bool:
        leaf = self._makers[i]
        return isinstance(leaf, Constant) and leaf.value >= 2

    def seed(self, table: Table) -> None:
        """Add sums of columns with weights of at most 2 and a constant of at most 1, for up to three columns."""
        k = len(table.names)
        if k > 3:
            return
        weights = np.array(list(product((0, 1, -1, 2, -2), repeat=k)))
        rows, forms = [], []
        for w, constant in product(weights, (0, 1, -1)):
            rows.append(table.columns @ w + constant)
            forms.append(linear([int(v) for v in w], table.variables, constant))
        cost = np.array([bits(form) for form in forms])
        order = np.argsort(cost, kind="stable")
        self._append(np.array(rows)[order], cost[order], [forms[i] for i in order])

    def grow_pairs(self) -> None:
        """Add every operator on two leaves."""
        leaves = np.arange(self.n_leaves)
        self._combine(leaves, leaves)
        self.n_pairs = len(self.bits)

    def grow_triples(self) -> None:
        """Add every operator on such a pair and a leaf, until the limit is reached."""
        self._combine(np.arange(self.n_leaves, self.n_pairs), np.arange(self.n_leaves))

    def _combine(self, left: np.ndarray, right: np.ndarray) -> None:
        self._unary(left)
        for name in (*COMMUTATIVE, *ONE_WAY):
            i, j = (part.ravel() for part in np.meshgrid(left, right, indexing="ij"))
            self._binary(name, i, j)
            if name in ONE_WAY and left is not right:
                self._binary(name, j, i)
        divisors = np.array(self._divisors, np.int64)
        i, j = (part.ravel() for part in np.meshgrid(left, divisors, indexing="ij"))
        for name in BY_CONSTANT:
            self._binary(name, i, j)

    def _unary(self, rows: np.ndarray) -> None:
        values = self.values[rows]
        self._add("abs", np.abs(values), rows[:, None])
        binary = ((values == 0) | (values == 1)).all(1)
        self._add("not", 1 - values[binary], rows[binary][:, None])

    def _binary(self, name: str, i: np.ndarray, j: np.ndarray) -> None:
        compute = OPERATORS[name].compute
        for start in range(0, len(i), 4096):
            if len(self.bits) >= self.limit:
                return
            a, b = i[start : start + 4096], j[start : start + 4096]
            self._add(name, compute(self.values[a], self.values[b]), np.stack([a, b], 1))

    def _add(self, name: str, values: np.ndarray, arguments: np.ndarray) -> None:
        if not len(values):
            return
        read = self.bits[arguments] + (0 if OPERATORS[name].conditions else BITS_OF_CAST * self.truth[arguments])
        cost = BITS_OF_NODE + OPERATORS[name].bits + read.sum(1)
        fine = np.abs(values).max(1) <= LARGEST_VALUE
        order = np.argsort(cost, kind="stable")
        order = order[fine[order]]
        makers = [(name, tuple(arguments[i])) for i in order]
        self._append(values[order], cost[order], makers)

    def _append(self, values: np.ndarray, cost: np.ndarray, makers: list) -> None:
        keep: list[int] = []
        for i, code in enumerate(self.codes(values).tolist()):
            if code not in self._seen and len(self.bits) + len(keep) < self.limit:
                self._seen.add(code)
                keep.append(i)
        self.values = np.concatenate([self.values, values[keep]])
        self.bits = np.concatenate([self.bits, cost[keep]])
        self._makers += [makers[i] for i in keep]
        truth = [isinstance(maker, tuple) and OPERATORS[maker[0]].truth for maker in self._makers[len(self.truth) :]]
        self.truth = np.concatenate([self.truth, np.array(truth, bool)])

    def codes(self, values: np.ndarray) -> np.ndarray:
        """Return a hash of each row."""
        with np.errstate(over="ignore"):
            return (values * self._key).sum(1)

    def expression(self, i: int | np.integer) -> Expression:
        """Return the expression of a row."""
        maker = self._makers[int(i)]
        if not isinstance(maker, tuple):
            return maker
        name, arguments = maker
        return Call(name, tuple(self.expression(j) for j in arguments))

    def truths(self) -> np.ndarray:
        """Return the rows that are 0 or 1 everywhere and both somewhere."""
        binary = ((self.values == 0) | (self.values == 1)).all(1)
        return np.flatnonzero(binary & (self.values.min(1) != self.values.max(1)))
