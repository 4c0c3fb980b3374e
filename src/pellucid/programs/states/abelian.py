"""Counters in an automaton: the largest commutative group that its inputs can be counted in.

A label z(s) with z(next(s, a)) = z(s) + f(a) in an abelian group exists for every word if and only if it respects one
relation for each transition outside a spanning tree. The Smith normal form of these relations gives the group as
Z^r + Z/n_1 + ..., and the increments f(a) with it: unbounded counters and counters modulo n in one computation.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import gcd

import numpy as np

from pellucid.programs.states.automaton import UNKNOWN, Automaton
from pellucid.programs.states.lattice import reduce_integer

LARGEST_ORDER = 10_000
MOST_SYMBOLS = 64


@dataclass(frozen=True)
class Counting:
    """Labels of states in Z^r + Z/n_1 + ..., one column a factor."""

    labels: np.ndarray
    """[n, d]"""
    increments: np.ndarray
    """[a, d]"""
    orders: tuple[int, ...]
    """n_1, ... of the factors; 0 for Z."""
    covered: np.ndarray
    """States that have a label: all but absorbing ones."""


def counting(automaton: Automaton) -> Counting | None:
    """Return labels in the largest group; None if the group is trivial or there are over 64 symbols."""
    n, n_symbols = automaton.next.shape
    if n_symbols > MOST_SYMBOLS or n < 2:
        return None
    absorbing = np.all((automaton.next == np.arange(n)[:, None]) | (automaton.next == UNKNOWN), axis=1)
    absorbing &= (automaton.next != UNKNOWN).any(1)
    absorbing[0] = False
    vectors, covered, relations = _relations(automaton, absorbing)
    orders, change = smith(relations, n_symbols)
    kept = [i for i, order in enumerate(orders) if order != 1 and order <= LARGEST_ORDER]
    if not kept:
        return None
    increments = change[:, kept]
    orders = [orders[i] for i in kept]
    increments = _readable(increments, orders)
    labels = vectors @ increments
    for j, order in enumerate(orders):
        if order:
            labels[:, j] %= order
    return Counting(labels, increments, tuple(orders), covered)


def _relations(automaton: Automaton, absorbing: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    n, n_symbols = automaton.next.shape
    unit = np.eye(n_symbols, dtype=np.int64)
    vectors, covered = np.zeros((n, n_symbols), np.int64), np.zeros(n, bool)
    covered[0] = True
    queue, relations = [0], set()
    for state in queue:
        for symbol in range(n_symbols):
            after = int(automaton.next[state, symbol])
            if after == UNKNOWN or absorbing[after]:
                continue
            if not covered[after]:
                covered[after], vectors[after] = True, vectors[state] + unit[symbol]
                queue.append(after)
    for state in queue:
        for symbol in range(n_symbols):
            after = int(automaton.next[state, symbol])
            if after != UNKNOWN and not absorbing[after]:
                relations.add(tuple((vectors[state] + unit[symbol] - vectors[after]).tolist()))
    relations.discard((0,) * n_symbols)
    return vectors, covered, np.array(sorted(relations), dtype=object).reshape(-1, n_symbols)


def smith(relations: np.ndarray, n: int) -> tuple[list[int], np.ndarray]:
    """Return orders d_1 | d_2 | ... (0: infinite) and a matrix V [n, n] so that v -> v V mod d is Z^n / relations.

    Rows of `relations` [m, n] are integer vectors that count as 0. Row and column operations until it is diagonal.
    """
    work = [[int(value) for value in row] for row in relations]
    columns = [[int(i == j) for j in range(n)] for i in range(n)]
    at = 0
    while at < min(len(work), n) and _pivot(work, columns, at):
        _clear(work, columns, at)
        at += 1
    orders = [abs(work[i][i]) if i < at else 0 for i in range(n)]
    return orders, np.array(columns, dtype=np.int64)


def _swap_columns(rows: list[list[int]], i: int, j: int) -> None:
    for row in rows:
        row[i], row[j] = row[j], row[i]


def _add_column(rows: list[list[int]], source: int, target: int, factor: int) -> None:
    for row in rows:
        row[target] += factor * row[source]


def _pivot(work: list[list[int]], columns: list[list[int]], at: int) -> bool:
    """Bring the smallest number of the rest to the diagonal; say whether there is one that is not 0."""
    places = [(abs(work[i][j]), i, j) for i in range(at, len(work)) for j in range(at, len(columns)) if work[i][j]]
    if not places:
        return False
    _, i, j = min(places)
    work[at], work[i] = work[i], work[at]
    _swap_columns(work, at, j)
    _swap_columns(columns, at, j)
    return True


def _clear(work: list[list[int]], columns: list[list[int]], at: int) -> None:
    """Make row and column `at` zero beyond the diagonal, by Euclid's steps."""
    n = len(columns)
    while True:
        for i in range(at + 1, len(work)):
            factor = work[i][at] // work[at][at]
            if factor:
                work[i] = [a - factor * b for a, b in zip(work[i], work[at], strict=True)]
        for j in range(at + 1, n):
            factor = work[at][j] // work[at][at]
            if factor:
                _add_column(work, at, j, -factor)
                _add_column(columns, at, j, -factor)
        rest = [work[i][at] for i in range(at + 1, len(work))] + [work[at][j] for j in range(at + 1, n)]
        if not any(rest):
            break
        _pivot(work, columns, at)
    bad = next((i for i in range(at + 1, len(work)) if any(v % work[at][at] for v in work[i][at:])), None)
    if bad is not None:  # the order must divide all that follow
        work[at] = [a + b for a, b in zip(work[at], work[bad], strict=True)]
        _pivot(work, columns, at)
        _clear(work, columns, at)


def _readable(increments: np.ndarray, orders: list[int]) -> np.ndarray:
    """Choose generators so that increments are small: a unit of Z/n, reduced and positive combinations of Z^r."""
    increments = increments.copy()
    for j, order in enumerate(orders):
        if order:
            units = [u for u in range(1, order) if gcd(u, order) == 1] or [1]
            best = min(units, key=lambda u: _effort(increments[:, j] * u % order))
            increments[:, j] = increments[:, j] * best % order
    free = [j for j, order in enumerate(orders) if not order]
    if len(free) > 1:
        increments[:, free] = reduce_integer(increments[:, free].T).T
    for j in free:
        if increments[:, j].sum() < 0 or (increments[:, j].sum() == 0 and increments[-1, j] < 0):
            increments[:, j] *= -1
    return increments


def _effort(values: np.ndarray) -> tuple[int, int]:
    """Prefer increments that rise by equal steps from symbol to symbol, then small ones."""
    return len(np.unique(np.diff(values))), int(np.abs(values).sum())
