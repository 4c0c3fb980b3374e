"""Which parts of a host do a task: scores of heads from discrete codes."""

from pellucid.circuits.discrete import NodeScores, area_under_curve, fit_discrete, node_scores, score_heads

__all__ = ["NodeScores", "area_under_curve", "fit_discrete", "node_scores", "score_heads"]
