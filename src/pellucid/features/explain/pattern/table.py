"""Which conditions hold where, for all contexts of a latent at once."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Float, Int

from pellucid.features.explain.contexts import Context
from pellucid.features.explain.pattern.conditions import Condition, conditions_of
from pellucid.features.explain.pattern.rule import moved


class TokenTable:
    """Contexts as a grid of token numbers, and for each token the conditions that it passes.

    Contexts shorter than the longest are padded on the right; no condition holds on padding.
    """

    def __init__(self, contexts: Sequence[Context]) -> None:
        texts = sorted({text for context in contexts for text in context.texts})
        number = {text: place for place, text in enumerate(texts)}
        width = max(len(context.texts) for context in contexts)
        self.ids: Int[np.ndarray, "w n"] = np.full((len(contexts), width), len(texts), np.int64)
        self.codes: Float[np.ndarray, "w n"] = np.zeros((len(contexts), width), np.float32)
        for place, context in enumerate(contexts):
            self.ids[place, : len(context.texts)] = [number[text] for text in context.texts]
            self.codes[place, : len(context.texts)] = context.codes
        known: dict[Condition, int] = {}
        passed = [[known.setdefault(condition, len(known)) for condition in conditions_of(text)] for text in texts]
        self.conditions = list(known)
        self.texts, self.n_tokens = texts, len(texts)
        # For each token where its conditions stand in one flat list; padding has none.
        self._first = np.cumsum([0, *map(len, passed), 0])
        self._passed = np.array([condition for conditions in passed for condition in conditions], np.int64)

    def holds(self, condition: int, place: str) -> Bool[np.ndarray, "w n"]:
        """Return at each token whether a condition (by its number) holds at that place beside it."""
        passes = np.zeros(self.n_tokens + 1, bool)
        owners = np.repeat(np.arange(self.n_tokens + 1), np.diff(self._first))
        passes[owners[self._passed == condition]] = True
        return moved(passes[self.ids], place)

    def anywhere(self, place: str, targets: Bool[np.ndarray, "w n"]) -> Bool[np.ndarray, "c w"]:
        """Return for each condition the contexts in which it holds at that place beside one of the target tokens."""
        rows, columns = np.nonzero(seen_from(targets, place))
        tokens = self.ids[rows, columns]
        counts = self._first[tokens + 1] - self._first[tokens]
        ends = np.cumsum(counts)
        inner = np.arange(int(ends[-1]) if len(ends) else 0) - np.repeat(ends - counts, counts)
        found = np.zeros((len(self.conditions), len(self.ids)), bool)
        found[self._passed[np.repeat(self._first[tokens], counts) + inner], np.repeat(rows, counts)] = True
        return found


def seen_from(targets: Bool[np.ndarray, "w n"], place: str) -> Bool[np.ndarray, "w n"]:
    """Return the tokens that stand at that place beside some target; what `moved` undoes."""
    if place == "this":
        return targets
    out = np.zeros_like(targets)
    if place == "next":
        out[:, 1:] = targets[:, :-1]
    else:
        out[:, :-1] = targets[:, 1:]
    return out
