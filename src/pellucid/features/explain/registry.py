"""The explainers by name; a new one is a small file and a line here."""

from __future__ import annotations

from collections.abc import Callable

from pellucid.features.explain.base import Explainer
from pellucid.features.explain.pattern import Pattern
from pellucid.features.explain.prompted import Prompted
from pellucid.features.language import LanguageModel

EXPLAINERS: dict[str, Callable[[LanguageModel | None], Explainer]] = {
    "pattern": lambda model: Pattern(),
    "local": lambda model: Prompted("local", _wanted(model), examples=12),
    "openai": lambda model: Prompted("openai", _wanted(model)),
}
"""Takes the language model that `models.MODELS` has for that name, if any."""


def _wanted(model: LanguageModel | None) -> LanguageModel:
    assert model is not None, "this explainer asks a language model"
    return model
