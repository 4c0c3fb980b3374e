"""Settings of a job that explains latents."""

from __future__ import annotations

from pydantic import Field, field_validator

from pellucid.core.config import Config
from pellucid.core.errors import did_you_mean
from pellucid.features.explain import EXPLAINERS
from pellucid.features.explain.contexts import ContextConfig
from pellucid.features.language import EndpointConfig
from pellucid.features.scores import SCORE_NAMES

JUDGES = ("auto", "rule", "local", "openai")


class ExplainConfig(Config):
    """Which latents of a dictionary are explained, by what, from how much text, and how explanations are scored."""

    explainer: str = "pattern"
    """pattern (rules, no language model), local (a causal language model) or openai (any OpenAI-compatible endpoint)."""
    judge: str = "auto"
    """rule, local, openai, or auto: rules judge themselves, other explanations are judged by the model that made them."""
    latents: int = Field(100, ge=1)
    """How many alive latents to explain, drawn at random by the seed; all if there are no more."""
    scores: tuple[str, ...] = ("detection", "fuzzing", "simulation")
    """Any of detection, fuzzing, simulation, embedding, intervention, surprisal."""
    shown_rows: int = Field(512, ge=1)
    """Training rows of text that explainers are shown contexts from, at most."""
    scored_rows: int | None = Field(None, ge=1)
    """Held-out rows of text that contexts to score on are taken from, at most (default: all)."""
    contexts: ContextConfig = ContextConfig()
    """How text is cut and how many contexts a latent has."""
    rule_entries: int = Field(0, ge=0)
    """pattern: words, texts and pairs of a rule in which tokens count in part, at most; such a rule is taken where it tells
    more than a short one, and is long. 0: short rules alone."""
    model: str = "smollm2"
    """Catalogue name or folder of the causal language model of local, surprisal and intervention."""
    embedding_model: str = ""
    """Folder or wheel of the embedding model, for the score embedding."""
    kl: float = Field(1.0, ge=0)
    """Nats of KL that interventions aim at."""
    endpoint: EndpointConfig = EndpointConfig()
    """Where openai asks."""
    batch_rows: int = Field(8, ge=1)
    """Rows of text run at once."""
    seed: int = 0
    """Draws latents, contexts, wrong marks and the permutation of the control."""

    @field_validator("explainer")
    @classmethod
    def _known_explainer(cls, value: str) -> str:
        return _one_of(value, tuple(EXPLAINERS), "explainer")

    @field_validator("judge")
    @classmethod
    def _known_judge(cls, value: str) -> str:
        return _one_of(value, JUDGES, "judge")

    @field_validator("scores")
    @classmethod
    def _known_scores(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(dict.fromkeys(_one_of(name, SCORE_NAMES, "score") for name in value))

    @property
    def judged_by(self) -> str:
        """Return the judge that auto stands for."""
        return self.judge if self.judge != "auto" else {"pattern": "rule"}.get(self.explainer, self.explainer)


def _one_of(value: str, known: tuple[str, ...], what: str) -> str:
    if value not in known:
        raise ValueError(f"unknown {what} '{value}', wanted one of {', '.join(known)}.{did_you_mean(value, known)}")
    return value
