"""Fuzzing: from the explanation, are the marked tokens those on which the latent fires?"""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool

from pellucid.features.explain.contexts import Context, Evidence
from pellucid.features.scores.base import Score, Scorer, wilson
from pellucid.features.scores.judges import Judge


class Fuzzing(Scorer):
    """Accuracy of yes or no for firing contexts with marks, right in one half, wrong in the other (2410.13928).

    Wrong marks are on as many tokens as fire, drawn among those that do not (on all of these where they are fewer).
    Neighbours in strength go to different halves. Chance is 0.5.
    """

    name = "fuzzing"

    def __init__(self, judge: Judge, seed: int = 0) -> None:
        self.judge, self.seed = judge, seed

    def score(self, explanation: str, evidence: Evidence) -> Score:
        """Return the share of contexts judged rightly; yes is a judgement of at least half."""
        contexts = [c for c in evidence.held_out.firing if (c.codes <= 0).any()]
        contexts = contexts[: len(contexts) // 2 * 2]
        generator = np.random.default_rng([self.seed, evidence.latent])
        right = np.arange(len(contexts)) % 2 == 0
        marks = [
            context.codes > 0 if own else wrong_marks(context, generator) for context, own in zip(contexts, right, strict=True)
        ]
        said = self.judge.agrees(explanation, contexts, marks) >= 0.5 if contexts else right
        return wilson(said == right)


def wrong_marks(context: Context, generator: np.random.Generator) -> Bool[np.ndarray, " n"]:
    """Return marks on as many tokens as fire, none of which fires."""
    silent = np.nonzero(context.codes <= 0)[0]
    marks = np.zeros(len(context.codes), bool)
    marks[generator.permutation(silent)[: int((context.codes > 0).sum())]] = True
    return marks
