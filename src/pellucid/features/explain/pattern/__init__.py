"""Explanations that are rules over tokens: read by people, run by judges."""

from pellucid.features.explain.pattern.explainer import Pattern
from pellucid.features.explain.pattern.rule import Clause, Rule
from pellucid.features.explain.pattern.search import SearchConfig, find_rule

__all__ = ["Clause", "Pattern", "Rule", "SearchConfig", "find_rule"]
