"""Detection: from the explanation, in which contexts does the latent fire?"""

from __future__ import annotations

import numpy as np

from pellucid.features.explain.contexts import Evidence
from pellucid.features.scores.base import Score, Scorer, wilson
from pellucid.features.scores.judges import Judge


class Detection(Scorer):
    """Accuracy of yes or no for whole contexts, as many firing as silent ones (2410.13928): chance is 0.5."""

    name = "detection"

    def __init__(self, judge: Judge) -> None:
        self.judge = judge

    def score(self, explanation: str, evidence: Evidence) -> Score:
        """Return the share of contexts judged rightly; yes is a judgement above 0.5."""
        held_out = evidence.held_out
        said = self.judge.detects(explanation, held_out.all) > 0.5
        true = np.arange(len(said)) < len(held_out.firing)
        return wilson(said == true)
