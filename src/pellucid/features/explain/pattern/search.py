"""The shortest rule that separates contexts in which a latent fires from those in which it is silent."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from jaxtyping import Bool, Float

from pellucid.core.config import Config
from pellucid.features.explain.contexts import Contexts
from pellucid.features.explain.pattern.conditions import Condition
from pellucid.features.explain.pattern.rule import FULL, PLACES, Clause, Rule
from pellucid.features.explain.pattern.table import TokenTable

Key = tuple[tuple[str, int], ...]
"""A clause as places and condition numbers."""


class SearchConfig(Config):
    """What the words of a rule cost."""

    clause_cost: float = 0.002
    """Balanced accuracy that a clause must add to be worth its words."""
    condition_cost: float = 0.002
    """The same for its second condition."""
    max_clauses: int = 32
    """Clauses of a rule at most, before those of one form are written as one."""
    pairs: int = 40
    """Conditions, the best alone, of which pairs are tried."""
    min_firing: int = 3
    """Firing contexts that a clause must newly cover."""
    localised: float = 0.5
    """Weight of being right on the very token; the rest is for the context as a whole."""
    max_entries: int = 0
    """Words, texts and pairs of a graded rule at most; 0: short rules alone. With 300, rules tell a little more and are
    several times as long as a person reads."""
    grading_cost: float = 0.02
    """Balanced accuracy by which a graded rule must be better than the short one."""


class Candidates:
    """Clauses and where they hold: `firing` in [0, 1] (1: on a firing token of that context), `silent` likewise."""

    def __init__(self, table: TokenTable, n_firing: int, config: SearchConfig) -> None:
        self.table, self.n_firing, self.config = table, n_firing, config
        self.fires = table.codes > 0
        self.keys: list[Key] = []
        firing: list[Float[np.ndarray, "c f"]] = []
        silent: list[Bool[np.ndarray, "c s"]] = []
        for place in PLACES:
            where = table.anywhere(place, np.ones_like(self.fires))
            right = table.anywhere(place, self.fires)[:, :n_firing]
            useful = np.nonzero(right.sum(axis=1) >= config.min_firing)[0]
            self.keys += [((place, int(condition)),) for condition in useful]
            firing.append(self._merit(where[useful][:, :n_firing], right[useful]))
            silent.append(where[useful][:, n_firing:])
        self.firing, self.silent = np.concatenate(firing), np.concatenate(silent)
        self._add_pairs()

    def _merit(self, where: Bool[np.ndarray, "c f"], right: Bool[np.ndarray, "c f"]) -> Float[np.ndarray, "c f"]:
        share = np.float32(self.config.localised)
        return where.astype(np.float32) * (1 - share) + right.astype(np.float32) * share

    def _add_pairs(self) -> None:
        # Pairs sharpen what covers much but is too loose, so the best are ranked by what they cover, then by what they spare.
        gain = self.firing.mean(axis=1) - 0.5 * self.silent.mean(axis=1)
        best = np.argsort(-gain, kind="stable")[: self.config.pairs]
        held = [self.table.holds(self.keys[i][0][1], self.keys[i][0][0]) for i in best]
        keys, firing, silent = [], [], []
        for a in range(len(best)):
            for b in range(a + 1, len(best)):
                one, other = self.keys[best[a]][0], self.keys[best[b]][0]
                if one[0] == other[0]:
                    continue
                both = held[a] & held[b]
                where = both.any(axis=1)
                right = (both & self.fires)[: self.n_firing].any(axis=1)
                if right.sum() < self.config.min_firing:
                    continue
                keys.append(tuple(sorted((one, other), key=lambda item: list(PLACES).index(item[0]))))
                firing.append(self._merit(where[None, : self.n_firing], right[None])[0])
                silent.append(where[self.n_firing :])
        if keys:
            self.keys += keys
            self.firing = np.concatenate([self.firing, np.stack(firing)])
            self.silent = np.concatenate([self.silent, np.stack(silent)])

    def clause(self, number: int) -> Clause:
        """Return a candidate as a clause."""
        return Clause(tuple((place, self.table.conditions[condition]) for place, condition in self.keys[number]))


def find_short(shown: Contexts, config: SearchConfig) -> Rule:
    """Return a rule of clauses that are enough each by itself.

    Clauses are added one by one, each the one that most raises
      (covered share of firing contexts + spared share of silent ones) / 2 - cost of its words,
    until none raises it. A firing context counts `localised` less if the clause holds there on other tokens only than
    those on which the latent fires. Then clauses without which the value is higher are dropped again.
    """
    candidates = Candidates(TokenTable(shown.all), len(shown.firing), config)
    if not candidates.keys:
        return Rule(())
    cost = np.array([config.clause_cost + config.condition_cost * (len(key) - 1) for key in candidates.keys], np.float32)
    chosen: list[int] = []
    covered = np.zeros(len(shown.firing), np.float32)
    struck = np.zeros(len(shown.silent), bool)
    while len(chosen) < config.max_clauses:
        won = np.maximum(candidates.firing - covered, 0)
        gain = won.mean(axis=1) / 2 - (candidates.silent & ~struck).mean(axis=1) / 2 - cost
        gain[(won > 0).sum(axis=1) < config.min_firing] = -1
        best = int(gain.argmax())
        if gain[best] <= 0:
            break
        chosen.append(best)
        covered = np.maximum(covered, candidates.firing[best])
        struck |= candidates.silent[best]
    return joined([candidates.clause(number) for number in _pruned(candidates, chosen, cost)])


def _pruned(candidates: Candidates, chosen: list[int], cost: Float[np.ndarray, " c"]) -> list[int]:
    def value(numbers: list[int]) -> float:
        if not numbers:
            return 0.0
        hit, struck = candidates.firing[numbers].max(axis=0), candidates.silent[numbers].any(axis=0)
        return float(hit.mean() / 2 - struck.mean() / 2 - cost[numbers].sum())

    for number in list(chosen):
        without = [other for other in chosen if other != number]
        if value(without) >= value(chosen):
            chosen = without
    return chosen


def joined(clauses: list[Clause]) -> Rule:
    """Return a rule in which clauses that differ in one condition's value only are written as one.

    Classes that count less than all stay apart, since the finest that holds decides.
    """
    groups: dict[tuple[object, ...], list[Clause]] = {}
    for clause in clauses:
        places = tuple((place, condition.kind) for place, condition in clause.conditions)
        rest = tuple(condition for _, condition in clause.conditions[1:])
        apart = clause if clause.percent < FULL and clause.specificity[1][0] <= 0 else None
        groups.setdefault((places, rest, clause.percent, apart), []).append(clause)
    return Rule(tuple(group[0] if len(group) == 1 else _as_one(group) for group in groups.values()))


def _as_one(group: list[Clause]) -> Clause:
    place, first = group[0].conditions[0]
    values = tuple(dict.fromkeys(value for clause in group for value in clause.conditions[0][1].values))
    return replace(group[0], conditions=((place, Condition(first.kind, values)), *group[0].conditions[1:]))
