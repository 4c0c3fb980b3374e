"""A rule over tokens: it can be read, and it can be run."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool

from pellucid.features.explain.pattern.conditions import Condition, read_condition

PLACES = {"this": "", "previous": " after ", "next": " before "}
"""Where the token of a condition stands, and the word that joins its phrase to the others; the order is that of a sentence."""
OPENING = "Fires on "
ANY = "any token"
BETWEEN = "; or "
_QUOTED = re.compile(r'"(?:[^"\\]|\\.)*"')


@dataclass(frozen=True)
class Clause:
    """Conditions on a token and its neighbours that must all hold, by place."""

    conditions: tuple[tuple[str, Condition], ...]

    def marks(self, texts: Sequence[str]) -> Bool[np.ndarray, " n"]:
        """Return for each token whether the clause holds there; a neighbour outside the context passes nothing."""
        held = np.ones(len(texts), bool)
        for place, condition in self.conditions:
            held &= moved(np.array([condition.holds(text) for text in texts], bool), place)
        return held

    @property
    def text(self) -> str:
        """Return the phrase a person reads."""
        by_place = dict(self.conditions)
        first = by_place["this"].text if "this" in by_place else ANY
        return first + "".join(join + by_place[place].text for place, join in PLACES.items() if join and place in by_place)


@dataclass(frozen=True)
class Rule:
    """Clauses of which one must hold: the latent is said to fire where one does.

    `Rule.parse(rule.text)` is the rule again, so the text is all there is to keep. No clause: never fires.
    """

    clauses: tuple[Clause, ...]

    def marks(self, texts: Sequence[str]) -> Bool[np.ndarray, " n"]:
        """Return for each token of a context whether the rule says that the latent fires there."""
        return self.marks_all([texts])[0]

    def marks_all(self, contexts: Sequence[Sequence[str]]) -> list[Bool[np.ndarray, " n"]]:
        """Return `marks` of many contexts; each condition is asked once of each distinct token."""
        distinct = list(dict.fromkeys(text for texts in contexts for text in texts))
        number = {text: place for place, text in enumerate(distinct)}
        ids = np.full((len(contexts), max(map(len, contexts), default=0)), len(distinct))
        for row, texts in zip(ids, contexts, strict=True):
            row[: len(texts)] = [number[text] for text in texts]
        asked = {condition for clause in self.clauses for _, condition in clause.conditions}
        passes = {condition: np.array([*map(condition.holds, distinct), False]) for condition in asked}
        held = np.zeros(ids.shape, bool)
        for clause in self.clauses:
            held |= np.logical_and.reduce([moved(passes[condition][ids], place) for place, condition in clause.conditions])
        return [row[: len(texts)] for row, texts in zip(held, contexts, strict=True)]

    def fires(self, texts: Sequence[str]) -> bool:
        """Return whether the rule says that the latent fires anywhere in a context."""
        return bool(self.marks(texts).any())

    @property
    def text(self) -> str:
        """Return the sentence a person reads."""
        return OPENING + (BETWEEN.join(clause.text for clause in self.clauses) or "nothing")

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
        if plain == "nothing":
            return cls(())
        try:
            values = [json.loads(string) for string in strings]
        except json.JSONDecodeError:
            return None
        clauses = [_read_clause(part, values) for part in plain.split(BETWEEN)]
        found = tuple(clause for clause in clauses if clause is not None)
        return cls(found) if len(found) == len(clauses) else None


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


def _read_clause(part: str, strings: list[str]) -> Clause | None:
    joins = {join: place for place, join in PLACES.items() if join}
    pieces = re.split("(" + "|".join(map(re.escape, joins)) + ")", part)
    phrases = [("this", pieces[0]), *((joins[pieces[i]], pieces[i + 1]) for i in range(1, len(pieces), 2))]
    if phrases[0][1] == ANY:
        phrases = phrases[1:]
    read = [(place, read_condition(phrase, strings)) for place, phrase in phrases]
    if not read or any(condition is None for _, condition in read):
        return None
    return Clause(tuple((place, condition) for place, condition in read if condition is not None))
