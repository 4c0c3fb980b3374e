"""Scores on held-out data, and comparison of runs."""

from pellucid.evaluation.compare import Comparison, compare
from pellucid.evaluation.evaluate import evaluate
from pellucid.evaluation.run import evaluate_run, load_run

__all__ = ["Comparison", "compare", "evaluate", "evaluate_run", "load_run"]
