"""Who decides what an explanation predicts: a rule for itself, or a language model."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Float, Int

from pellucid.core.errors import ConfigError
from pellucid.features.explain.contexts import Context
from pellucid.features.explain.marks import marked, plain
from pellucid.features.explain.pattern import FULL, Rule
from pellucid.features.language import LanguageModel

Marks = Bool[np.ndarray, " n"]
Counts = Int[np.ndarray, " n"]


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
        self._known: dict[str, dict[Context, Counts]] = {}

    def detects(self, explanation: str, contexts: Sequence[Context]) -> Float[np.ndarray, " c"]:
        """Return 1 where the tokens come to 100 % together, else 0."""
        return np.array([float(counts.sum() >= FULL) for counts in self._counts(explanation, contexts)])

    def agrees(self, explanation: str, contexts: Sequence[Context], marks: Sequence[Marks]) -> Float[np.ndarray, " c"]:
        """Return m / (m + 2 o): half where marked tokens count, in the mean (m), twice as much as the others (o)."""
        pairs = zip(self._counts(explanation, contexts), marks, strict=True)
        return np.array([_share(counts, wanted) for counts, wanted in pairs])

    def simulates(self, explanation: str, context: Context) -> Float[np.ndarray, " n"]:
        """Return what each token counts, 1 for 100 %."""
        return self._counts(explanation, [context])[0] / FULL

    def _counts(self, explanation: str, contexts: Sequence[Context]) -> list[Counts]:
        known = self._known.get(explanation, {})
        new = [context for context in contexts if context not in known]
        if new:
            counts = _rule(explanation).counts_all([context.texts for context in new])
            latest = list(self._known.items())[-1:]
            self._known = dict([*latest, (explanation, {**known, **dict(zip(new, counts, strict=True))})])
        return [self._known[explanation][context] for context in contexts]


def _share(counts: Counts, marks: Marks) -> float:
    marked = float(counts[marks].mean()) if marks.any() else 0.0
    others = float(counts[~marks].mean()) if not marks.all() else 0.0
    return marked / (marked + 2 * others) if marked else 0.0


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
