"""Who decides what an explanation predicts: a rule for itself, or a language model."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Float

from pellucid.core.errors import ConfigError
from pellucid.features.explain.contexts import Context
from pellucid.features.explain.marks import marked, plain
from pellucid.features.explain.pattern import Rule
from pellucid.features.language import LanguageModel

Marks = Bool[np.ndarray, " n"]


class Judge(ABC):
    """Reads an explanation and contexts, never codes."""

    name: str

    @abstractmethod
    def detects(self, explanation: str, contexts: Sequence[Context]) -> Float[np.ndarray, " c"]:
        """Return for each context how likely the latent fires in it, in [0, 1]."""

    @abstractmethod
    def agrees(self, explanation: str, contexts: Sequence[Context], marks: Sequence[Marks]) -> Float[np.ndarray, " c"]:
        """Return for each context how likely the marked tokens are those on which the latent fires, in [0, 1]."""

    @abstractmethod
    def simulates(self, explanation: str, context: Context) -> Float[np.ndarray, " n"]:
        """Return a predicted activation for each token, on any scale."""


class RuleJudge(Judge):
    """Runs explanations that are rules; ConfigError for one that is none."""

    name = "rule"

    def __init__(self) -> None:
        # All scores of a latent ask about the same contexts, each for its own explanation and for the control's.
        self._known: dict[str, dict[Context, Marks]] = {}

    def detects(self, explanation: str, contexts: Sequence[Context]) -> Float[np.ndarray, " c"]:
        """Return 1 where the rule marks some token, else 0."""
        return np.array([float(found.any()) for found in self._marks(explanation, contexts)])

    def agrees(self, explanation: str, contexts: Sequence[Context], marks: Sequence[Marks]) -> Float[np.ndarray, " c"]:
        """Return the share of marked tokens that the rule marks too."""
        pairs = zip(self._marks(explanation, contexts), marks, strict=True)
        return np.array([float(found[wanted].mean()) if wanted.any() else 0.0 for found, wanted in pairs])

    def simulates(self, explanation: str, context: Context) -> Float[np.ndarray, " n"]:
        """Return 1 on tokens that the rule marks, else 0."""
        return self._marks(explanation, [context])[0].astype(np.float64)

    def _marks(self, explanation: str, contexts: Sequence[Context]) -> list[Marks]:
        known = self._known.get(explanation, {})
        new = [context for context in contexts if context not in known]
        if new:
            marks = _rule(explanation).marks_all([context.texts for context in new])
            latest = list(self._known.items())[-1:]
            self._known = dict([*latest, (explanation, {**known, **dict(zip(new, marks, strict=True))})])
        return [self._known[explanation][context] for context in contexts]


class ModelJudge(Judge):
    """Asks a language model one yes-or-no question a judgement; activations from one question a token."""

    def __init__(self, model: LanguageModel) -> None:
        self.model = model
        self.name = model.name

    def detects(self, explanation: str, contexts: Sequence[Context]) -> Float[np.ndarray, " c"]:
        """Ask of each context whether it contains what the explanation describes."""
        ask = "Does the text contain what is described? Answer Yes or No."
        prompts = [_prompt(explanation, "".join(map(plain, context.texts)), ask) for context in contexts]
        return self.model.yes(prompts, _prompt(explanation, "", ask))

    def agrees(self, explanation: str, contexts: Sequence[Context], marks: Sequence[Marks]) -> Float[np.ndarray, " c"]:
        """Ask of each context whether the explanation describes the tokens in << >>."""
        ask = "Does the description fit the tokens between << and >>? Answer Yes or No."
        pairs = zip(contexts, marks, strict=True)
        prompts = [_prompt(explanation, marked(context.texts, wanted), ask) for context, wanted in pairs]
        return self.model.yes(prompts, _prompt(explanation, "", ask))

    def simulates(self, explanation: str, context: Context) -> Float[np.ndarray, " n"]:
        """Ask of each token, marked alone in its text up to there, whether the description fits it."""
        ask = "Does the description fit the token between << and >>? Answer Yes or No."
        prompts = []
        for place in range(len(context.texts)):
            alone = np.arange(place + 1) == place
            prompts.append(_prompt(explanation, marked(context.texts[: place + 1], alone), ask))
        return self.model.yes(prompts, _prompt(explanation, "", ask)).astype(np.float64)


def _prompt(explanation: str, text: str, ask: str) -> str:
    return f"Description: {explanation}\n\nText: {text}\n\n{ask}\nAnswer:"


def _rule(explanation: str) -> Rule:
    rule = Rule.parse(explanation)
    if rule is None:
        raise ConfigError(
            f"the explanation {explanation[:60]!r} is no rule, so it cannot judge itself; choose the judge local or openai"
        )
    return rule
