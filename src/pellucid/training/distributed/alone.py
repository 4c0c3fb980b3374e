"""What the trainer asks of the ranks it runs on; here there is one."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from pellucid.core.logging import JsonLines, Ticker
from pellucid.data import Batch, DataSource
from pellucid.dictionaries import Dictionary, FiringCounter
from pellucid.training.config import FitConfig
from pellucid.training.distributed.trainee import Trainee

T = TypeVar("T")
State = tuple[dict[str, Tensor], dict[str, Any]]
"""Tensors by `name/key`, and plain values by dictionary name: what a checkpoint holds of the learners."""


@dataclass(frozen=True)
class Positions:
    """How many kept positions each rank has of one batch."""

    counts: tuple[int, ...]
    """By rank, in the order of the batch's rows; all of them on rank 0 where ranks see the same rows."""
    rank: int = 0
    """Whose view this is."""

    @property
    def own(self) -> int:
        """Positions of this rank."""
        return self.counts[self.rank]

    @property
    def total(self) -> int:
        """Positions of all ranks."""
        return sum(self.counts)

    @property
    def after(self) -> int:
        """Positions of the ranks after this one: the tokens that came later."""
        return sum(self.counts[self.rank + 1 :])

    @property
    def share(self) -> float:
        """This rank's part of the batch; what a mean over its positions weighs in the mean over all."""
        return self.own / self.total


@dataclass
class Trained:
    """A dictionary at the end of its training, whole."""

    name: str
    """Name in the run."""
    dictionary: Dictionary
    """Its weights."""
    warm_start_tokens: int
    """Tokens it had been trained on before this fit."""
    seconds: float
    """Time it took."""
    skipped: list[list[int]]
    """Stretches of updates that its weights hold nothing of."""


class Alone:
    """One process: nothing is shared out and nothing is reduced. Base of what several ranks do."""

    rank, size, mode = 0, 1, "alone"

    @property
    def writes(self) -> bool:
        """True on the rank that writes the run folder."""
        return self.rank == 0

    def agree(self, what: str, facts: Callable[[], dict[str, Any]]) -> None:
        """Check that `facts` gives the same on all ranks; RankError names the ranks and what differs."""

    def on_first(self, action: Callable[[], T]) -> T:
        """Return what `action` gives on rank 0, a JSON value, on every rank."""
        return action()

    def locked(self, lock: AbstractContextManager[None]) -> AbstractContextManager[None]:
        """Return the run folder's lock, on the rank that writes."""
        return lock

    def begin(self, step: int) -> None:
        """Note which step this rank is at, for the others' messages."""

    def stop_or_save(self, asked: bool, due: bool) -> tuple[bool, bool]:
        """Return whether any rank was asked to stop, and whether rank 0 finds a checkpoint due."""
        return asked, due

    def ticker(self, title: str, total: int) -> Ticker | Silent:
        """Return what shows progress."""
        return Ticker(title, total)

    def lines(self, path: Path, offset: int) -> JsonLines | Silent:
        """Return what writes metrics to a file, from `offset` bytes on."""
        return JsonLines(path, offset)

    # Which part of the work is this rank's.

    def names(self, config: FitConfig) -> list[str]:
        """Return the names of the dictionaries this rank trains, in the config's order."""
        return list(config.dictionaries)

    def batch(self, data: DataSource, step: int, rows: int) -> Batch:
        """Return this rank's part of batch number `step`."""
        return data.train_batch(step, rows)

    def adopt(self, dictionary: Dictionary) -> Dictionary:
        """Return the dictionary in the form in which this rank trains it."""
        return dictionary

    # Inside an update. `positions` is what `count` returned for the batch.

    def count(self, own: int) -> Positions:
        """Return the positions of all ranks, given this rank's."""
        return Positions((own,))

    def any(self, found: bool) -> bool:
        """Return whether any rank that shares a batch's rows found something in its own."""
        return found

    def mean(self, values: dict[str, Tensor], positions: Positions) -> dict[str, float]:
        """Return means over all positions of the batch, given each rank's means over its own."""
        held = torch.stack([value.detach().double() for value in values.values()]).tolist()  # a GPU is waited for once
        return dict(zip(values, held, strict=True))

    def reduce_gradients(self, dictionary: Dictionary, positions: Positions) -> None:
        """Turn the gradients of a mean over own positions into those of the mean over all."""

    def clip(self, dictionary: Dictionary, limit: float) -> Tensor:
        """Scale the dictionary's gradient down to norm `limit` if it is longer; return its norm before."""
        norm = nn.utils.get_total_norm([p.grad for p in dictionary.parameters() if p.grad is not None])
        if limit < norm + 1e-6:  # scaling by 1 is a pass over all gradients for nothing
            nn.utils.clip_grads_with_norm_(dictionary.parameters(), limit, norm)
        return norm

    def counting(self, counter: FiringCounter, positions: Positions) -> AbstractContextManager[None]:
        """Return a context in which the counter is given this rank's codes, and at whose end it has seen all of the batch."""
        return nullcontext()

    def activity(self, dictionary: Dictionary, l0: float, dead: float, positions: Positions) -> dict[str, float]:
        """Return L0 and the share of dead latents of the whole dictionary and batch, given this rank's."""
        return {"l0": l0, "dead": dead}

    # Between updates.

    def gather_lines(self, lines: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """Return the metrics of all dictionaries on the rank that writes, given those of this rank's."""
        return lines

    def everyone(self, lines: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """Return on every rank the lines that all dictionaries of the fit gave, given those of this rank's."""
        return lines

    def gather(self, learners: Sequence[Trainee]) -> State | None:
        """Return the state of all learners on the rank that writes; None elsewhere."""
        return state_of(learners)

    def spread(self, load: Callable[[], State | None]) -> State | None:
        """Return on every rank what `load` reads on rank 0."""
        return load()

    def restore(self, learners: Sequence[Trainee], state: State) -> None:
        """Let this rank's learners go on from a state of all."""
        tensors, plain = state
        for learner in learners:
            prefix = f"{learner.name}/"
            own = {key.removeprefix(prefix): value for key, value in tensors.items() if key.startswith(prefix)}
            learner.load_state(self.part(own, learner), plain[learner.name])

    def part(self, tensors: dict[str, Tensor], learner: Trainee) -> dict[str, Tensor]:
        """Return this rank's part of a learner's saved tensors."""
        return tensors

    def trained(self, learners: Sequence[Trainee]) -> Iterator[Trained]:
        """Yield every dictionary of the fit, whole, on the rank that writes; nothing elsewhere."""
        for learner in learners:
            yield Trained(learner.name, learner.dictionary, learner.warm_start_tokens, learner.seconds, learner.watch.skipped)


def state_of(learners: Sequence[Trainee]) -> State:
    """Return the state of these learners."""
    tensors: dict[str, Tensor] = {}
    plain: dict[str, Any] = {}
    for learner in learners:
        found, plain[learner.name] = learner.state()
        tensors |= {f"{learner.name}/{key}": value for key, value in found.items()}
    return tensors, plain


class Silent:
    """Progress and metrics on a rank that shows and writes none."""

    offset = 0

    def __enter__(self) -> Silent:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def advance(self, amount: int | float, note: str = "") -> None:
        """Show nothing."""

    def write(self, **values: Any) -> None:
        """Write nothing."""

    def close(self) -> None:
        """Close nothing."""


def bounds(n: int, rank: int, size: int) -> slice:
    """Return the part of n things in a row that is a rank's; parts differ by one at most."""
    return slice(n * rank // size, n * (rank + 1) // size)
