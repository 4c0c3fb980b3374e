"""What an explainer is: contexts of a latent in, a text out."""

from __future__ import annotations

from abc import ABC, abstractmethod

from pellucid.features.explain.contexts import Contexts


class Explainer(ABC):
    """Makes a text from the contexts in which a latent fires and some in which it is silent."""

    name: str

    @abstractmethod
    def explain(self, shown: Contexts) -> str:
        """Return the explanation of a latent."""

    def cost(self) -> dict[str, float]:
        """Return what the explanations so far have used."""
        return {}
