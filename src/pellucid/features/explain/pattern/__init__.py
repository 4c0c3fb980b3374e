"""Explanations that are rules over tokens: read by people, run by judges."""

from pellucid.features.explain.pattern.choice import find_rule
from pellucid.features.explain.pattern.explainer import Pattern
from pellucid.features.explain.pattern.rule import FULL, Clause, Rule
from pellucid.features.explain.pattern.search import SearchConfig

__all__ = ["FULL", "Clause", "Pattern", "Rule", "SearchConfig", "find_rule"]
