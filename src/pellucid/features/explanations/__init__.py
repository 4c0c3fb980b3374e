"""Explaining a run: which latents, from which text, scored how, and where the results are kept."""

from pellucid.features.explanations.config import ExplainConfig
from pellucid.features.explanations.job import explain_run
from pellucid.features.explanations.schema import EXPLANATIONS, read_explanations

__all__ = ["EXPLANATIONS", "ExplainConfig", "explain_run", "read_explanations"]
