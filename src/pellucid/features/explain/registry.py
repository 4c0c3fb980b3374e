"""The explainers by name; a new one is a small file and a line here."""

from __future__ import annotations

from collections.abc import Callable

from pellucid.features.explain.base import Explainer
from pellucid.features.explain.pattern import Pattern, SearchConfig
from pellucid.features.explain.prompted import Prompted
from pellucid.features.language import LanguageModel

EXPLAINERS: dict[str, Callable[[LanguageModel | None, SearchConfig], Explainer]] = {
    "pattern": lambda model, search: Pattern(search),
    "local": lambda model, search: Prompted("local", _wanted(model), examples=12),
    "openai": lambda model, search: Prompted("openai", _wanted(model)),
}
"""Takes the language model of that name, if any, and what the words of a rule cost."""


def _wanted(model: LanguageModel | None) -> LanguageModel:
    assert model is not None, "this explainer asks a language model"
    return model
