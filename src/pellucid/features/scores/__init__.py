"""How good an explanation is, on contexts that its explainer never saw."""

from pellucid.features.scores.base import Score, Scorer
from pellucid.features.scores.registry import SCORE_NAMES, SCORES

__all__ = ["SCORES", "SCORE_NAMES", "Score", "Scorer"]
