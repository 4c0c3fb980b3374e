"""Explanations of latents: contexts in, a text out."""

from pellucid.features.explain.base import Explainer
from pellucid.features.explain.contexts import Context, ContextConfig, Contexts, Evidence, cut, gather
from pellucid.features.explain.pattern import Pattern, Rule
from pellucid.features.explain.prompted import Prompted
from pellucid.features.explain.registry import EXPLAINERS

__all__ = [
    "EXPLAINERS",
    "Context",
    "ContextConfig",
    "Contexts",
    "Evidence",
    "Explainer",
    "Pattern",
    "Prompted",
    "Rule",
    "cut",
    "gather",
]
