"""What an explainer or a judge asks of a language model."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

from jaxtyping import Float
from numpy import ndarray


class LanguageModel(ABC):
    """A model that follows an instruction."""

    name: str

    @abstractmethod
    def complete(self, prompt: str, max_tokens: int = 40) -> str:
        """Return the model's answer to a prompt, at most so many tokens long."""

    @abstractmethod
    def yes(self, prompts: Sequence[str], neutral: str) -> Float[ndarray, " n"]:
        """Return for each question how likely its answer is yes, in [0, 1].

        `neutral` is the question about nothing: a model that gives probabilities is corrected for what it says to that.
        """

    def cost(self) -> dict[str, float]:
        """Return what has been used so far: requests, tokens, and money where it is known."""
        return {}
