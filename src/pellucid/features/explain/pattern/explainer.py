"""The explainer that needs no language model."""

from __future__ import annotations

from pellucid.features.explain.base import Explainer
from pellucid.features.explain.contexts import Contexts
from pellucid.features.explain.pattern.choice import find_rule
from pellucid.features.explain.pattern.search import SearchConfig


class Pattern(Explainer):
    """States a rule that separates firing from silent contexts, as short as it can be; the text can be run: `Rule.parse`."""

    name = "pattern"

    def __init__(self, config: SearchConfig | None = None) -> None:
        self.config = config or SearchConfig()

    def explain(self, shown: Contexts) -> str:
        """Return the rule's text."""
        return find_rule(shown, self.config).text
