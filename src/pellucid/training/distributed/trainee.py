"""What sharing out a fit needs to know of a dictionary in training."""

from __future__ import annotations

from typing import Any, Protocol, runtime_checkable

from torch import Tensor

from pellucid.dictionaries import Dictionary
from pellucid.training.config import DictionaryConfig
from pellucid.training.spikes import Watch


@runtime_checkable
class Trainee(Protocol):
    """A dictionary in training; see `Learner`."""

    name: str
    config: DictionaryConfig
    dictionary: Dictionary
    watch: Watch
    warm_start_tokens: int
    seconds: float

    def state(self) -> tuple[dict[str, Tensor], dict[str, Any]]: ...
    def load_state(self, tensors: dict[str, Tensor], plain: dict[str, Any]) -> None: ...
