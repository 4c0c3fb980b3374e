"""A rule over tokens: it can be read, and it can be run.

    Fires on "(" after " print"; or "def"; at 50 % on a capitalised word; at 3 % on any token; not on " The"

Each token counts what the most specific clause that holds there says (a pair of tokens before one, an exact text before a
word, a word before an affix, an affix before a class), the greatest of equals. The latent is said to fire in a context
whose tokens come to 100 % together.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Int

from pellucid.features.explain.pattern.conditions import Condition, read_condition

PLACES = {"this": "", "previous": " after ", "next": " before "}
"""Where the token of a condition stands, and the word that joins its phrase to the others; the order is that of a sentence."""
OPENING = "Fires "
ANY = "any token"
NOTHING = "on nothing"
FULL = 100
"""What a token counts that is enough by itself, in percent."""
BETWEEN = "; or "
_QUOTED = re.compile(r'"(?:[^"\\]|\\.)*"')
_GROUP = re.compile(r"(?:^|; )(at (\d\d?) % on|not on|on) ")


@dataclass(frozen=True)
class Clause:
    """Conditions on a token and its neighbours that must all hold, by place; none: any token."""

    conditions: tuple[tuple[str, Condition], ...]
    percent: int = FULL
    """What a token counts where the clause holds."""

    def holds(self, texts: Sequence[str]) -> Bool[np.ndarray, " n"]:
        """Return for each token whether the clause holds there; a neighbour outside the context passes nothing."""
        held = np.ones(len(texts), bool)
        for place, condition in self.conditions:
            held &= moved(np.array([condition.holds(text) for text in texts], bool), place)
        return held

    @property
    def specificity(self) -> tuple[int, tuple[int, int]]:
        """How much the clause asks for: conditions, then the most exact one of them."""
        return len(self.conditions), max((condition.exactness for _, condition in self.conditions), default=(-1, 0))

    @property
    def text(self) -> str:
        """Return the phrase a person reads, without what it counts."""
        by_place = dict(self.conditions)
        first = by_place["this"].text if "this" in by_place else ANY
        return first + "".join(join + by_place[place].text for place, join in PLACES.items() if join and place in by_place)


@dataclass(frozen=True)
class Rule:
    """Clauses with what a token counts where they hold.

    `Rule.parse(rule.text)` says the same as the rule, so the text is all there is to keep. No clause: never fires.
    """

    clauses: tuple[Clause, ...]

    def counts(self, texts: Sequence[str]) -> Int[np.ndarray, " n"]:
        """Return what each token of a context counts, in percent."""
        return self.counts_all([texts])[0]

    def counts_all(self, contexts: Sequence[Sequence[str]]) -> list[Int[np.ndarray, " n"]]:
        """Return `counts` of many contexts; each condition is asked once of each distinct token."""
        distinct = list(dict.fromkeys(text for texts in contexts for text in texts))
        number = {text: place for place, text in enumerate(distinct)}
        ids = np.full((len(contexts), max(map(len, contexts), default=0)), len(distinct))
        for row, texts in zip(ids, contexts, strict=True):
            row[: len(texts)] = [number[text] for text in texts]
        asked = {condition for clause in self.clauses for _, condition in clause.conditions}
        passes = {condition: np.array([*map(condition.holds, distinct), False]) for condition in asked}
        counts = np.zeros(ids.shape, np.int64)
        for clause in sorted(self.clauses, key=lambda clause: (clause.specificity, clause.percent)):
            held = np.ones(ids.shape, bool)
            for place, condition in clause.conditions:
                held &= moved(passes[condition][ids], place)
            counts[held] = clause.percent
        return [row[: len(texts)] for row, texts in zip(counts, contexts, strict=True)]

    def fires(self, texts: Sequence[str]) -> bool:
        """Return whether the rule says that the latent fires anywhere in a context."""
        return bool(self.counts(texts).sum() >= FULL)

    @property
    def text(self) -> str:
        """Return the sentence a person reads, from what counts most to what does not count."""
        groups = [
            _head(percent) + " " + BETWEEN.join(clause.text for clause in self.clauses if clause.percent == percent)
            for percent in sorted({clause.percent for clause in self.clauses}, reverse=True)
        ]
        return OPENING + ("; ".join(groups) or NOTHING)

    @classmethod
    def parse(cls, text: str) -> Rule | None:
        """Return the rule that a text states; None if it is no rule's text."""
        if not text.startswith(OPENING):
            return None
        strings: list[str] = []

        def keep(match: re.Match[str]) -> str:
            strings.append(match[0])
            return f"\x00{len(strings) - 1}\x00"

        plain = _QUOTED.sub(keep, text.removeprefix(OPENING))
        if plain == NOTHING:
            return cls(())
        try:
            values = [json.loads(string) for string in strings]
        except json.JSONDecodeError:
            return None
        before, *groups = _GROUP.split(plain)
        if before or not groups:
            return None
        found = []
        for head, percent, body in zip(groups[::3], groups[1::3], groups[2::3], strict=True):
            count = int(percent or (FULL if head == "on" else 0))
            found += [_read_clause(part, values, count) for part in body.split(BETWEEN)]
        clauses = tuple(clause for clause in found if clause is not None)
        return cls(clauses) if len(clauses) == len(found) else None


def _head(percent: int) -> str:
    return {FULL: "on", 0: "not on"}.get(percent, f"at {percent} % on")


def moved(held: Bool[np.ndarray, "... n"], place: str) -> Bool[np.ndarray, "... n"]:
    """Return at each token what `held` says of the token at that place beside it; along the last axis."""
    if place == "this":
        return held
    out = np.zeros_like(held)
    if place == "next":
        out[..., :-1] = held[..., 1:]
    else:
        out[..., 1:] = held[..., :-1]
    return out


def _read_clause(part: str, strings: list[str], percent: int) -> Clause | None:
    joins = {join: place for place, join in PLACES.items() if join}
    pieces = re.split("(" + "|".join(map(re.escape, joins)) + ")", part)
    phrases = [("this", pieces[0]), *((joins[pieces[i]], pieces[i + 1]) for i in range(1, len(pieces), 2))]
    if phrases[0][1] == ANY:
        phrases = phrases[1:]
    read = [(place, read_condition(phrase, strings)) for place, phrase in phrases]
    if any(condition is None for _, condition in read):
        return None
    return Clause(tuple((place, condition) for place, condition in read if condition is not None), percent)
