"""Which parts of a host do a task: scores of heads from discrete codes, and what single codes stand for."""

from pellucid.circuits.codes import BestCodes, best_codes, jensen_shannon
from pellucid.circuits.discrete import NodeScores, area_under_curve, fit_discrete, node_scores, score_heads

__all__ = [
    "BestCodes",
    "NodeScores",
    "area_under_curve",
    "best_codes",
    "fit_discrete",
    "jensen_shannon",
    "node_scores",
    "score_heads",
]
