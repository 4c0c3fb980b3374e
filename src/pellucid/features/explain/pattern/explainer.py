"""The explainer that needs no language model."""

from __future__ import annotations

from pellucid.features.explain.base import Explainer
from pellucid.features.explain.contexts import Contexts
from pellucid.features.explain.pattern.search import SearchConfig, find_rule


class Pattern(Explainer):
    """States the shortest rule that separates firing from silent contexts; the text can be run, see `Rule.parse`."""

    name = "pattern"

    def __init__(self, config: SearchConfig | None = None) -> None:
        self.config = config or SearchConfig()

    def explain(self, shown: Contexts) -> str:
        """Return the rule's text."""
        return find_rule(shown, self.config).text
