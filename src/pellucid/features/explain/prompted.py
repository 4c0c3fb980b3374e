"""Explanations by a language model from marked examples (2410.13928)."""

from __future__ import annotations

import numpy as np

from pellucid.features.explain.base import Explainer
from pellucid.features.explain.contexts import DECILES, Contexts
from pellucid.features.explain.marks import marked
from pellucid.features.language.base import LanguageModel

INSTRUCTION = (
    "Below are pieces of text. Tokens between << and >> make one unit of a neural network active; the number says how much, "
    "from 1 to 10. In one short sentence, say what the marked tokens have in common. Do not quote the pieces.\n\n"
)
MAX_CHARACTERS = 300


class Prompted(Explainer):
    """Shows a language model firing contexts, evenly over the deciles of activation, with firing tokens in << >>."""

    def __init__(self, name: str, model: LanguageModel, *, examples: int = 40, max_tokens: int = 48) -> None:
        """`examples`: contexts in a prompt (the paper: 40); a small model does better with fewer."""
        self.name, self.model, self.examples, self.max_tokens = name, model, examples, max_tokens

    def explain(self, shown: Contexts) -> str:
        """Return the model's first sentence; raises what the model raises."""
        answer = self.model.complete(self.prompt(shown), self.max_tokens)
        line = next((line.strip() for line in answer.splitlines() if line.strip()), "")
        return line[:MAX_CHARACTERS]

    def prompt(self, shown: Contexts) -> str:
        """Return what the model is asked."""
        strongest = shown.firing[0].activation
        chosen = np.unique(np.linspace(0, len(shown.firing) - 1, min(self.examples, len(shown.firing))).astype(int))
        lines = []
        for number, place in enumerate(chosen, start=1):
            context = shown.firing[place]
            strength = max(1, round(DECILES * context.activation / strongest))
            lines.append(f"{number}. (strength {strength}) {marked(context.texts, context.codes > 0)}")
        return INSTRUCTION + "\n".join(lines) + "\n\nThe marked tokens are"

    def cost(self) -> dict[str, float]:
        """Return what the model has used."""
        return self.model.cost()
