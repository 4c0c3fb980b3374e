"""The scores by name; a new one is a small file and a line here."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from jaxtyping import Int
from torch import Tensor

from pellucid.features.language import CausalModel
from pellucid.features.scores.base import Scorer
from pellucid.features.scores.detection import Detection
from pellucid.features.scores.embedding import Embedding, Encoder
from pellucid.features.scores.fuzzing import Fuzzing
from pellucid.features.scores.intervention import Intervention
from pellucid.features.scores.judges import Judge
from pellucid.features.scores.simulation import Simulation
from pellucid.features.scores.surprisal import Surprisal
from pellucid.features.steering import Steerable


@dataclass(frozen=True)
class Resources:
    """What scores are made with; those that cost much to make are made when asked for."""

    judge: Judge
    encoder: Callable[[], Encoder]
    reader: Callable[[], CausalModel]
    """Reads texts and gives log-probabilities."""
    steerable: Callable[[], Steerable]
    dictionary: str
    prompts: Callable[[], Int[Tensor, "p n"]]
    """Beginnings of texts to continue."""
    kl: float
    seed: int


SCORES: dict[str, Callable[[Resources], Scorer]] = {
    "detection": lambda given: Detection(given.judge),
    "fuzzing": lambda given: Fuzzing(given.judge, given.seed),
    "simulation": lambda given: Simulation(given.judge, given.seed),
    "embedding": lambda given: Embedding(given.encoder()),
    "intervention": lambda given: Intervention(
        given.steerable(), given.dictionary, given.prompts(), given.reader(), kl=given.kl, seed=given.seed
    ),
    "surprisal": lambda given: Surprisal(given.reader()),
}
SCORE_NAMES = tuple(SCORES)
