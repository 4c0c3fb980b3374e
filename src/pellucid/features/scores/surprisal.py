"""Surprisal: does the explanation make firing contexts less surprising?"""

from __future__ import annotations

from pellucid.features.explain.contexts import Evidence
from pellucid.features.explain.marks import plain
from pellucid.features.language import CausalModel
from pellucid.features.scores.base import Score, Scorer, auroc

UNRELATED = "the colour of ripe fruit in the paintings of a small northern town"
"""The fixed description z~ that an explanation is held against."""


class Surprisal(Scorer):
    """AUROC of log p(x | z) - log p(x | z~), firing against silent contexts x (2410.13928); z~ is a fixed description."""

    name = "surprisal"

    def __init__(self, model: CausalModel, unrelated: str = UNRELATED) -> None:
        self.model, self.unrelated = model, unrelated

    def score(self, explanation: str, evidence: Evidence) -> Score:
        """Return the AUROC; 0.5 if the explanation is z~ itself."""
        texts = ["".join(map(plain, context.texts)) for context in evidence.held_out.all]
        given = self.model.log_prob([_prompt(explanation)] * len(texts), texts)
        without = self.model.log_prob([_prompt(self.unrelated)] * len(texts), texts)
        difference = (given - without).astype("float64")
        n = len(evidence.held_out.firing)
        return auroc(difference[:n], difference[n:])


def _prompt(description: str) -> str:
    return f"A text with the following in it: {description}\n\nText:"
