"""Each rank trains some of the dictionaries."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from pellucid.training.config import FitConfig
from pellucid.training.distributed.alone import State, state_of
from pellucid.training.distributed.ranks import Ranks
from pellucid.training.distributed.trainee import Trainee


class SiteRanks(Ranks):
    """Dictionaries shared out, the same rows on every rank.

    No number crosses ranks inside an update, so every dictionary ends with the bits it has in one process. Dictionaries of
    one site stay together as far as the shares allow: a rank runs the host no further than its own sites ask.
    """

    mode = "sites"

    @classmethod
    def problems(cls, config: FitConfig, size: int) -> list[str]:
        """Return why the dictionaries cannot be shared out over so many ranks."""
        n = len(config.dictionaries)
        return [] if n >= size else [f"the fit has {n} dictionaries, which {size} ranks cannot share; start at most {n} ranks"]

    def names(self, config: FitConfig) -> list[str]:
        """Return the names of the dictionaries this rank trains, in the config's order."""
        return shares(config, self.size)[self.rank]

    def gather_lines(self, lines: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """Return the metrics of all dictionaries on the rank that writes, in the config's order."""
        found = self.everyone(lines)
        return found if self.writes else []

    def everyone(self, lines: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """Return on every rank the lines that all dictionaries of the fit gave, in the config's order."""
        order = list(self.config.dictionaries)
        found = [line for part in self.wire.gather_json(lines) for line in part]
        return sorted(found, key=lambda line: order.index(line["dictionary"]))

    def gather(self, learners: Sequence[Trainee]) -> State | None:
        """Return the state of all learners on the rank that writes; None elsewhere."""
        tensors, plain = state_of(learners)
        manifest = [[name, list(value.shape), str(value.dtype).removeprefix("torch.")] for name, value in tensors.items()]
        parts = self.wire.gather_json([manifest, plain])
        if not self.writes:
            for value in tensors.values():
                self.wire.to_first(value, [])
            return None
        for rank, (described, values) in enumerate(parts[1:], start=1):
            plain |= values
            for name, shape, dtype in described:
                (tensors[name],) = self.wire.to_first(None, [(rank, shape, getattr(torch, dtype))])
        return tensors, plain


def shares(config: FitConfig, size: int) -> list[list[str]]:
    """Return the names of each rank's dictionaries.

    The dictionaries, ordered by site, are cut into `size` parts of about equally many latents, none empty.
    """
    names = sorted(config.dictionaries, key=lambda name: config.dictionaries[name].site)
    weights = [config.dictionaries[name].architecture.n_latents for name in names]
    parts: list[list[str]] = [[] for _ in range(size)]
    rank, done = 0, 0
    for i, (name, weight) in enumerate(zip(names, weights, strict=True)):
        left = len(names) - i
        full = (done + weight / 2) * size >= sum(weights) * (rank + 1)
        if parts[rank] and rank + 1 < size and (full or left <= size - rank - 1):
            rank += 1
        parts[rank].append(name)
        done += weight
    order = list(config.dictionaries)
    return [sorted(part, key=order.index) for part in parts]
