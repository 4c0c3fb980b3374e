"""Decision lists: `a if condition else b if ... else c` over the expressions of a bank."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pellucid.programs.language.expression import Expression, call
from pellucid.programs.regression.bank import Bank

MOST_CONDITIONS = 300
MOST_EXPRESSIONS = 2500
DEPTH = 3
BREADTH = 3
BITS_OF_DECISION = 5.0


@dataclass(frozen=True)
class _Rules:
    bank: Bank
    conditions: np.ndarray
    truth: np.ndarray
    rows: np.ndarray
    """Expressions of the bank that may stand in the list, shortest first."""
    misses: np.ndarray
    """1 where such an expression misses the target [expressions, points]."""

    def solved(self, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return, for each condition, the shortest expression right wherever it is true among the points, or -1."""
        active = (self.truth * points).astype(np.float32)
        right = (self.misses @ active.T) == 0
        first = right.argmax(0)
        found = right.any(0)
        return np.where(found, self.rows[first], -1), np.where(found, self.bank.bits[self.rows[first]], np.inf)

    def alone(self, points: np.ndarray) -> int | None:
        """Return the shortest expression right on all of the points."""
        right = np.flatnonzero(self.misses @ points.astype(np.float32) == 0)
        return int(self.rows[right[0]]) if len(right) else None

    def search(self, points: np.ndarray, depth: int) -> tuple[float, Expression] | None:
        """Return the shortest list of at most `depth` decisions right on the points, by a search of little breadth."""
        alone = self.alone(points)
        if alone is not None:
            return float(self.bank.bits[alone]), self.bank.expression(alone)
        if depth == 0:
            return None
        chosen, cost = self.solved(points)
        covered = (self.truth * points).sum(1)
        usable = np.flatnonzero((chosen >= 0) & (covered > 0) & (covered < points.sum()))
        total = cost[usable] + self.bank.bits[self.conditions[usable]]
        last = self._last(usable, chosen, total, points)
        if last is not None or depth == 1:
            return last
        order = usable[np.argsort(total - 40 * covered[usable] / points.sum(), kind="stable")[:BREADTH]]
        found = []
        for i in order:
            rest = self.search(points * (1 - self.truth[i]), depth - 1)
            if rest is not None:
                found.append(self._decide(i, int(chosen[i]), rest))
        return min(found, key=lambda pair: pair[0]) if found else None

    def _last(
        self, usable: np.ndarray, then: np.ndarray, total: np.ndarray, points: np.ndarray
    ) -> tuple[float, Expression] | None:
        """Return the shortest single decision whose two sides are both expressions of the bank."""
        if not len(usable):
            return None
        otherwise = _Rules(self.bank, self.conditions[usable], 1 - self.truth[usable], self.rows, self.misses)
        chosen, cost = otherwise.solved(points)
        both = np.where(chosen >= 0, cost + total, np.inf)
        if not np.isfinite(both).any():
            return None
        best = int(both.argmin())
        rest = float(cost[best]), self.bank.expression(int(chosen[best]))
        return self._decide(int(usable[best]), int(then[usable[best]]), rest)

    def _decide(self, i: int | np.integer, then: int, rest: tuple[float, Expression]) -> tuple[float, Expression]:
        condition = self.conditions[i]
        cost = float(self.bank.bits[condition] + self.bank.bits[then]) + rest[0] + BITS_OF_DECISION
        return cost, call("if", self.bank.expression(condition), self.bank.expression(then), rest[1])


def decision_list(bank: Bank, target: np.ndarray) -> Expression | None:
    """Return a short decision list that equals the target on every point of the bank; None if none was found."""
    truths = bank.truths()
    conditions = truths[np.argsort(bank.bits[truths], kind="stable")][:MOST_CONDITIONS]
    if not len(conditions):
        return None
    rows = np.argsort(bank.bits, kind="stable")[:MOST_EXPRESSIONS]
    misses = (bank.values[rows] != target).astype(np.float32)
    rules = _Rules(bank, conditions, bank.values[conditions].astype(np.float32), rows, misses)
    found = rules.search(np.ones(len(target), np.float32), DEPTH)
    return found[1] if found else None
