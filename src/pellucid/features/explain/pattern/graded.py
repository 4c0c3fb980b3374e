"""Rules in which a token counts as often as the latent fires on it, for latents that no token makes fire for sure.

The share p of a token's occurrences on which the latent fires is estimated from wide to narrow, each shrunk to the one before:
all tokens, the token's class, its word, its exact text, the text after the text before it,
    p = (firings + s p_wider) / (occurrences + s).
Were tokens independent, the latent would be silent in a context with probability prod (1 - p), so tokens count
-log(1 - p), in units in which contexts above 1 are best taken for firing ones, rounded to few levels.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from jaxtyping import Bool, Float, Int

from pellucid.features.explain.contexts import Contexts
from pellucid.features.explain.pattern.conditions import Condition, as_word, finest_class
from pellucid.features.explain.pattern.rule import FULL, Clause
from pellucid.features.explain.pattern.table import TokenTable

LEVELS = np.array([0, 1, 3, 6, 12, 25, 50, FULL])
"""What a token may count, in percent."""
SHRINK = (20.0, 4.0, 4.0, 4.0)
"""s of classes, words, texts and pairs."""
LEAST = 0.5
"""Nats that naming a word, text or pair must save."""
UNITS = 60
"""Units that are tried."""


@dataclass(frozen=True)
class Names:
    """The wider names of each token text, as numbers; pairs are numbered previous * n + this."""

    classes: Int[np.ndarray, " t"]
    words: Int[np.ndarray, " t"]
    class_names: list[str | None]
    word_names: list[str]
    is_word: Bool[np.ndarray, " w"]
    """Whether a word is one: other tokens have their text alone."""

    @classmethod
    def of(cls, texts: list[str]) -> Names:
        """Return the names of token texts, by number."""
        classes, words = [finest_class(text) for text in texts], [_word(text) for text in texts]
        class_names, word_names = list(dict.fromkeys(classes)), list(dict.fromkeys(words))
        by_class, by_word = ({name: i for i, name in enumerate(names)} for names in (class_names, word_names))
        return cls(
            np.array([by_class[name] for name in classes]),
            np.array([by_word[name] for name in words]),
            class_names,
            word_names,
            np.array([name.isalnum() for name in word_names]),
        )


def _word(text: str) -> str:
    word = as_word(text)
    return word if word.isalnum() else text


@dataclass(frozen=True)
class Shares:
    """Estimated p by class, word, text and pair."""

    classes: Float[np.ndarray, " c"]
    words: Float[np.ndarray, " w"]
    texts: Float[np.ndarray, " t"]
    pair_keys: Int[np.ndarray, " p"]
    """Sorted numbers of the pairs that were seen."""
    pairs: Float[np.ndarray, " p"]


class Sample:
    """Tokens of some contexts, those before them, and where the latent fires; padding is left out of all estimates."""

    def __init__(self, table: TokenTable, contexts: Bool[np.ndarray, " w"]) -> None:
        self.n = table.n_tokens
        self.ids = table.ids[contexts]
        before = np.full_like(self.ids, self.n)
        before[:, 1:] = self.ids[:, :-1]
        self.pairs = before * (self.n + 1) + self.ids
        self.real = self.ids < self.n
        self.fires = (table.codes[contexts] > 0) & self.real

    def shares(self, names: Names) -> Shares:
        """Estimate p on these contexts."""
        seen, fired = self.ids[self.real], self.ids[self.fires]
        every = len(fired) / max(len(seen), 1)
        classes = _shrunk(names.classes[seen], names.classes[fired], np.full(len(names.class_names), every), SHRINK[0])
        of_word = np.zeros(len(names.word_names))
        of_word[names.words] = classes[names.classes]  # ' The' and ' the' are one word of two classes: either will do
        words = _shrunk(names.words[seen], names.words[fired], of_word, SHRINK[1])
        texts = _shrunk(seen, fired, words[names.words], SHRINK[2])
        keys, places = np.unique(self.pairs[self.real], return_inverse=True)
        counts = np.bincount(places, minlength=len(keys))
        firings = np.bincount(places, weights=self.fires[self.real], minlength=len(keys))
        pairs = (firings + SHRINK[3] * texts[keys % (self.n + 1)]) / (counts + SHRINK[3])
        return Shares(classes, words, texts, keys, pairs)


def _shrunk(
    seen: Int[np.ndarray, " n"], fired: Int[np.ndarray, " f"], wider: Float[np.ndarray, " g"], s: float
) -> Float[np.ndarray, " g"]:
    counts, firings = (np.bincount(found, minlength=len(wider)) for found in (seen, fired))
    return (firings + s * wider) / (counts + s)


def weight(p: Float[np.ndarray, "..."]) -> Float[np.ndarray, "..."]:
    """Return -log(1 - p)."""
    return -np.log1p(-np.clip(p, 0, 0.99))


def rounded(weights: Float[np.ndarray, "..."], unit: float) -> Int[np.ndarray, "..."]:
    """Return weights in percent of a unit, rounded to LEVELS in proportion."""
    edges = [0.5, *(float(np.sqrt(low * high)) for low, high in pairwise(LEVELS[1:]))]
    return LEVELS[np.searchsorted(edges, FULL * weights / unit)]


def find_graded(shown: Contexts, max_entries: int) -> list[Clause]:
    """Return clauses for classes and for at most `max_entries` words, texts and pairs that stand out from what is wider.

    Those are named that save most nats in saying where the latent fires,
        occurrences * (p log(p / p_wider) + (1 - p) log((1 - p) / (1 - p_wider))).
    The unit is the one with which clauses made from one half of the contexts tell the firing ones of the other half best.
    """
    table = TokenTable(shown.all)
    names = Names.of(table.texts)
    everything = Sample(table, np.ones(len(table.ids), bool))
    if not everything.fires.any():
        return []
    named = Named.most(names, everything, everything.shares(names), max_entries)
    halves = [np.arange(len(table.ids)) % 2 == k for k in (0, 1)]
    samples = [Sample(table, half) for half in halves]
    weights = np.zeros(table.ids.shape)
    for half, sample, other in zip(halves, samples, reversed(samples), strict=True):
        weights[half] = Named.of(names, other, other.shares(names), named.least / 2).weights(sample)
    fires = np.arange(len(table.ids)) < len(shown.firing)
    units = np.quantile(weights.sum(axis=1), np.linspace(0.02, 0.98, UNITS)).clip(1e-9)
    right = [balanced(rounded(weights, unit).sum(axis=1) >= FULL, fires) for unit in units]
    return named.clauses(table.texts, names, float(units[int(np.argmax(right))]))


def balanced(said: Bool[np.ndarray, " w"], fires: Bool[np.ndarray, " w"]) -> float:
    """Return the mean of the shares of firing and of silent contexts that are said to be so."""
    return float(said[fires].mean() + 1 - said[~fires].mean()) / 2


@dataclass(frozen=True)
class Named:
    """Words, texts and pairs whose share differs from what is wider by enough to be said, with all shares."""

    least: float
    """Nats that each saves or more."""
    shares: Shares
    words: Bool[np.ndarray, " w"]
    texts: Bool[np.ndarray, " t"]
    pairs: Bool[np.ndarray, " p"]
    by_text: Float[np.ndarray, " t+1"]
    """Share of each text by all of these; 0 for padding."""

    @classmethod
    def of(cls, names: Names, sample: Sample, shares: Shares, least: float) -> Named:
        """Name what saves `least` nats in a sample."""
        n = len(names.classes)
        now = shares.classes[names.classes]
        seen = np.bincount(sample.ids[sample.real], minlength=n)
        saved = seen * _divergence(shares.words[names.words], now)
        words = (np.bincount(names.words, weights=saved, minlength=len(shares.words)) >= least) & names.is_word
        now = np.where(words[names.words], shares.words[names.words], now)
        texts = seen * _divergence(shares.texts, now) >= least
        now = np.where(texts, shares.texts, now)
        before, this = np.divmod(shares.pair_keys, n + 1)
        often = np.bincount(np.searchsorted(shares.pair_keys, sample.pairs[sample.real]), minlength=len(shares.pairs))
        pairs = (often * _divergence(shares.pairs, now[this]) >= least) & (before < n)
        return cls(least, shares, words, texts, pairs, np.append(now, 0.0))

    @classmethod
    def most(cls, names: Names, sample: Sample, shares: Shares, max_entries: int) -> Named:
        """Ask for more until at most `max_entries` are named."""
        least = LEAST
        while len(found := cls.of(names, sample, shares, least)) > max_entries:
            least *= 1.1
        return found

    def __len__(self) -> int:
        return int(self.words.sum() + self.texts.sum() + self.pairs.sum())

    def weights(self, sample: Sample) -> Float[np.ndarray, "w n"]:
        """Return -log(1 - p) of every token; 0 on padding."""
        p, keys = self.by_text[sample.ids], self.shares.pair_keys[self.pairs]
        if len(keys):
            at = np.searchsorted(keys, sample.pairs).clip(0, len(keys) - 1)
            p = np.where(keys[at] == sample.pairs, self.shares.pairs[self.pairs][at], p)
        return weight(p)

    def clauses(self, texts: list[str], names: Names, unit: float) -> list[Clause]:
        """Return what is named as clauses."""
        shares = self.shares
        classes, words, exact, pairs = (
            rounded(weight(p), unit) for p in (shares.classes, shares.words, shares.texts, shares.pairs)
        )
        rest = classes[names.class_names.index(None)] if None in names.class_names else 0
        found = [
            Clause(() if name is None else (_this("class", name),), int(percent))
            for name, percent in zip(names.class_names, classes, strict=True)
            if percent != (0 if name is None else rest)
        ]
        found += [Clause((_this("word", names.word_names[i]),), int(words[i])) for i in np.nonzero(self.words)[0]]
        found += [Clause((_this("is", texts[i]),), int(exact[i])) for i in np.nonzero(self.texts)[0]]
        for i in np.nonzero(self.pairs)[0]:
            before, this = divmod(int(shares.pair_keys[i]), len(texts) + 1)
            conditions = (_this("is", texts[this]), ("previous", Condition("is", (texts[before],))))
            found.append(Clause(conditions, int(pairs[i])))
        return found


def _divergence(p: Float[np.ndarray, " n"], q: Float[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
    """Return KL(p || q) of two coins, in nats."""
    p, q = p.clip(1e-9, 1 - 1e-9), q.clip(1e-9, 1 - 1e-9)
    return p * np.log(p / q) + (1 - p) * np.log((1 - p) / (1 - q))


def _this(kind: str, value: str) -> tuple[str, Condition]:
    return "this", Condition(kind, (value,))
