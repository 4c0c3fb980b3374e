"""Which dictionaries of a fit are updated as one stacked problem: measured once, said once, kept for a resume."""

from __future__ import annotations

import copy
import time
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from pellucid.core.allocator import give_back
from pellucid.core.logging import log
from pellucid.dictionaries import FiringCounter
from pellucid.dictionaries.registry import empty_dictionary
from pellucid.hosts import Site
from pellucid.hosts.splice import SharedPass
from pellucid.kernels.forms import usable
from pellucid.training.config import FitConfig
from pellucid.training.learner import Learner, make_optimizer
from pellucid.training.spikes import Watch
from pellucid.training.stacked import FORM, Stack, alike

TURNS = 5
"""Updates each way that are measured."""
LEAST_UPDATES = 200
"""Updates of a fit below which the measurement would cost more than it wins."""
LARGEST = 1 << 31
"""Multiply-adds of one encoder's product above which it takes nearly all the time and there is nothing to win."""


def make_stacks(
    config: FitConfig, learners: Sequence[Learner], positions: int, steps: int, kept: Sequence[Sequence[str]] | None
) -> list[Stack]:
    """Stack the dictionaries of equal shape where that was measured to be faster; return the stacks.

    `positions` are the tokens of an update, `steps` the updates of the fit. `kept`: the names stacked in an earlier part of
    the same fit, which hold for this one, so that it goes on with the same sums; None if there was none. Where the fit goes
    on over several ranks, which share out rows or latents, its dictionaries are updated by themselves.
    """
    if kept is not None:
        named = {learner.name: learner for learner in learners if alike(learner) is not None}
        return [Stack([named[name] for name in names]) for names in kept if all(name in named for name in names)]
    wanted = config.stack and config.kernels in ("auto", FORM) and steps >= LEAST_UPDATES
    if not wanted or FORM not in usable(torch.device("cpu"), torch.float32):
        return []
    groups: dict[tuple[Any, ...], list[Learner]] = {}
    for learner in learners:
        if (shape := alike(learner)) is not None:
            groups.setdefault(shape, []).append(learner)
    return [Stack(group) for group in groups.values() if len(group) > 1 and _is_faster(group, positions)]


def _is_faster(learners: Sequence[Learner], positions: int) -> bool:
    """Measure updates of copies on random rows both ways."""
    first = learners[0].dictionary
    if positions * first.n_latents * first.d_in > LARGEST:
        return False
    x = torch.randn(positions, first.d_in, generator=torch.Generator().manual_seed(0))
    batch = _Rows(x)
    apart = [_twin(learner) for learner in learners]
    stack = Stack([_twin(learner) for learner in learners])
    ways = {
        "apart": lambda: [learner.update(batch, None, 0.0, 0) for learner in apart],
        "stacked": lambda: stack.update(batch, 0.0, 0),
    }
    times: dict[str, list[float]] = {name: [] for name in ways}
    for turn in range(TURNS + 1):
        for name, work in ways.items():
            begun = time.perf_counter()
            work()
            if turn:  # the first one compiles
                times[name].append(time.perf_counter() - begun)
    give_back()
    least = {name: min(taken) for name, taken in times.items()}  # other work on the machine only adds
    faster = least["stacked"] < least["apart"]
    log.info(
        "%d dictionaries of %d latents of width %d are updated %s (one by one %.2f ms, stacked %.2f ms)", len(learners),
        first.n_latents, first.d_in, "stacked" if faster else "one by one", 1000 * least["apart"], 1000 * least["stacked"],
    )  # fmt: skip
    return faster


class _Rows(SharedPass):
    """A pass that gives the same rows at every site and needs no host."""

    def __init__(self, x: Tensor) -> None:
        self.x, self.keep = x, None

    def rows(self, site: Site) -> Tensor:
        """Return the rows [n, d]."""
        return self.x


def _twin(learner: Learner) -> Learner:
    """Return a learner with weights, optimizer and counters of its own that no one will miss."""
    twin, own = copy.copy(learner), learner.dictionary
    twin.dictionary = empty_dictionary(own.config, own.d_in, own.d_out).train()
    twin.dictionary.load_state_dict(own.state_dict())
    twin.dictionary.form = own.form
    twin.optimizer = make_optimizer(twin.dictionary, learner.config.lr, learner.fit.betas)
    twin.counter = FiringCounter(own.n_latents)
    twin.watch = Watch(learner.fit.spikes, learner.name, str(learner.place), learner.config.lr)
    return twin
