"""What every way to share out a fit has in common."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor

from pellucid.core.errors import ConfigError, RankError, raise_all
from pellucid.core.files import sha256_tensors
from pellucid.core.logging import JsonLines, Ticker
from pellucid.dictionaries import ARCHITECTURES, Dictionary
from pellucid.dictionaries.registry import empty_dictionary
from pellucid.training.config import FitConfig
from pellucid.training.distributed.alone import Alone, Silent, State, Trained
from pellucid.training.distributed.members import Members, agree
from pellucid.training.distributed.trainee import Trainee
from pellucid.training.distributed.wire import Wire

T = TypeVar("T")


class Ranks(Alone):
    """Several processes that train one fit; rank 0 writes what there is to write."""

    def __init__(self, members: Members, wire: Wire, config: FitConfig) -> None:
        self.members, self.wire, self.config = members, wire, config
        self.rank, self.size = members.rank, members.size

    @classmethod
    def problems(cls, config: FitConfig, size: int) -> list[str]:
        """Return what makes it impossible for so many ranks to share out this fit; empty if nothing does."""
        return []

    @classmethod
    def check(cls, config: FitConfig, size: int) -> None:
        """Raise ConfigError listing why so many ranks cannot share out this fit."""
        found = []
        for name, entry in config.dictionaries.items():
            kind = entry.architecture.model_dump()["kind"]
            ways = ARCHITECTURES[kind].parallel
            if config.parallel not in ways:
                found.append(f"dictionary '{name}': {kind} cannot be trained with parallel '{config.parallel}', only {ways}")
        raise_all(found + cls.problems(config, size), ConfigError)

    def agree(self, what: str, facts: Callable[[], dict[str, Any]]) -> None:
        """Check that `facts` gives the same on all ranks; RankError names the ranks and what differs."""
        agree(self.members, what, facts())

    def on_first(self, action: Callable[[], T]) -> T:
        """Return what `action` gives on rank 0, a JSON value, on every rank."""
        return self.wire.spread_json(action() if self.writes else None)

    def locked(self, lock: AbstractContextManager[None]) -> AbstractContextManager[None]:
        """Return the run folder's lock, on the rank that writes."""
        return lock if self.writes else nullcontext()

    def begin(self, step: int) -> None:
        """Note which step this rank is at, for the others' messages."""
        self.members.step = step

    def stop_or_save(self, asked: bool, due: bool) -> tuple[bool, bool]:
        """Return whether any rank was asked to stop, and whether rank 0 finds a checkpoint due."""
        votes = self.wire.sum(torch.tensor([asked, due and self.writes], dtype=torch.int32))
        return bool(votes[0]), bool(votes[1])

    def ticker(self, title: str, total: int) -> Ticker | Silent:
        """Return what shows progress, on the rank that writes."""
        return super().ticker(title, total) if self.writes else Silent()

    def lines(self, path: Path, offset: int) -> JsonLines | Silent:
        """Return what writes metrics, on the rank that writes."""
        return super().lines(path, offset) if self.writes else Silent()

    def gather(self, learners: Sequence[Trainee]) -> State | None:
        """Return the state of all learners on the rank that writes; None elsewhere."""
        self.check_same(learners)
        return super().gather(learners) if self.writes else None

    def check_same(self, learners: Sequence[Trainee]) -> None:
        """Raise RankError if weights that every rank holds are not the same bits everywhere."""
        held = {learner.name: self.on_all(learner.dictionary) for learner in learners}
        found = self.wire.gather_json({name: sha256_tensors(tensors) for name, tensors in held.items()})
        differing = [name for name in held if len({digests[name] for digests in found}) > 1]
        if differing:
            raise RankError(
                f"the weights of {differing} are no longer the same on the {self.size} ranks. Are their machines of one kind, "
                f"with the same versions? The last checkpoint is from before."
            )

    def on_all(self, dictionary: Dictionary) -> dict[str, Tensor]:
        """Return the parameters that every rank holds a copy of."""
        return dict(dictionary.named_parameters())

    def spread(self, load: Callable[[], State | None]) -> State | None:
        """Return on every rank what `load` reads on rank 0: files need not be in reach of the others."""
        found = load() if self.writes else None
        described = None
        if found is not None:
            shapes = [[name, list(tensor.shape), str(tensor.dtype)] for name, tensor in found[0].items()]
            described = [shapes, found[1]]
        described = self.wire.spread_json(described)
        if described is None:
            return None
        tensors = found[0] if found is not None else _empty(described[0])
        return {name: self.wire.spread(tensors[name]) for name, _, _ in described[0]}, described[1]

    def trained(self, learners: Sequence[Trainee]) -> Iterator[Trained]:
        """Yield every dictionary of the fit, whole, on the rank that writes; nothing elsewhere."""
        found = self.gather(learners)
        if found is None:
            return
        for name, entry in self.config.dictionaries.items():
            prefix = f"{name}/weights."
            weights = {key.removeprefix(prefix): value for key, value in found[0].items() if key.startswith(prefix)}
            plain = found[1][name]
            dictionary = empty_dictionary(entry.architecture, *plain["widths"])
            dictionary.load_state_dict(weights)
            yield Trained(name, dictionary, plain["warm_start_tokens"], plain["seconds"], plain["spikes"]["skipped"])


def _empty(described: list[Any]) -> dict[str, Tensor]:
    """Tensors to receive into; the names of types come from rank 0 of this very fit."""
    return {name: torch.empty(shape, dtype=getattr(torch, dtype.removeprefix("torch."))) for name, shape, dtype in described}
