"""From few errors to none: short rounds on hard and longer sequences, with the best snapshot kept."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from jaxtyping import Int64
from torch import Tensor

from pellucid.programs.ensembles.adam import MemberAdam
from pellucid.programs.ensembles.budget import Budget
from pellucid.programs.ensembles.checks import wrong_sequences
from pellucid.programs.ensembles.config import TrainingConfig
from pellucid.programs.ensembles.gradients import loss_and_gradient
from pellucid.programs.ensembles.members import Members
from pellucid.programs.ensembles.search import objective
from pellucid.programs.ensembles.sequences import Sequences

STRETCH = (1, 2, 5)
"""Lengths of training sequences, in training lengths; those beyond 1 only where the source has them."""
FAR = 20
"""Length of the longest probe, in training lengths."""
ROUND = 600
"""Steps of a round."""
RATES = (2e-3, 1e-3, 5e-4, 2e-4)
"""Highest learning rate of each round, over and over; within a round it falls to a hundredth along a cosine."""
PATIENCE = 4
"""Rounds without a better network before giving up."""
HARD = 4096
"""Sequences that were wrong, kept for each length."""


@dataclass
class Finished:
    """One member and its rates of wrong sequences: at training length, and at each longer length probed."""

    member: Members
    error: float
    longer: tuple[float, ...]
    rounds: int

    @property
    def rank(self) -> tuple[float, ...]:
        """What is compared: training length first, then the sum over longer ones."""
        return (self.error, sum(self.longer))

    @property
    def perfect(self) -> bool:
        """Whether no probe found an error."""
        return sum(self.rank) == 0


class _Hard:
    """Sequences that were wrong, by length; the newest replace the oldest."""

    def __init__(self) -> None:
        self._rows: dict[int, tuple[Tensor, Tensor]] = {}

    def add(self, xs: Int64[Tensor, "n t i"], ys: Int64[Tensor, "n t o"]) -> None:
        length = xs.shape[1]
        old = self._rows.get(length, (xs[:0], ys[:0]))
        self._rows[length] = torch.cat((xs, old[0]))[:HARD], torch.cat((ys, old[1]))[:HARD]

    def pick(self, n: int, length: int, generator: torch.Generator) -> tuple[Tensor, Tensor] | None:
        """Return up to n of them, or None if there are too few to stand for anything."""
        if length not in self._rows or len(self._rows[length][0]) < 8:
            return None
        xs, ys = self._rows[length]
        which = torch.randint(len(xs), (min(n, len(xs)),), generator=generator)
        return xs[which], ys[which]


def finish(members: Members, sequences: Sequences, config: TrainingConfig, budget: Budget, rounds: int) -> Finished:
    """Return the best snapshot of any member: fewest errors at training length, then fewest at longer lengths.

    Each round trains all members on a mixture of lengths, a quarter of each batch being sequences that were wrong before,
    and then looks at fresh sequences of every length. Ends when no probe finds an error, when the last rounds brought
    nothing, after `rounds`, or when the time is over.
    """
    generator = torch.Generator().manual_seed(config.seed + 1)
    hard = _Hard()
    best = _probe(members, sequences, hard, 0)
    members = members.subset(torch.arange(len(members)))
    since = 0
    for k in range(1, rounds + 1):
        if best.perfect or since >= PATIENCE or budget.over:
            break
        _round(members, sequences, config, hard, RATES[(k - 1) % len(RATES)], generator)
        found = _probe(members, sequences, hard, k)
        since = 0 if found.rank < best.rank else since + 1
        best = min(best, found, key=lambda f: f.rank)
        budget.note(f"{members.shape}: round {k}, wrong {found.error:.5f}, longer {[round(v, 4) for v in found.longer]}")
    return best


def _lengths(sequences: Sequences) -> list[int]:
    return [sequences.length * s for s in STRETCH if sequences.reaches(sequences.length * s)]


def _round(
    members: Members, sequences: Sequences, config: TrainingConfig, hard: _Hard, rate: float, generator: torch.Generator
) -> None:
    """Train in place; a step on longer sequences takes fewer of them, so that all steps cost about the same."""
    adam = MemberAdam(members.flat)
    lengths = _lengths(sequences)
    for step in range(ROUND):
        length = lengths[step % len(lengths)]
        n = max(config.batch * sequences.length // length, 8)
        extra = hard.pick(n // 4, length, generator)
        xs, ys = sequences.batch(n, length)
        if extra is not None:
            more = sequences.scaled(*extra)
            xs, ys = torch.cat((xs, more[0]), 2), torch.cat((ys, more[1]), 2)
        _, gradient, _ = loss_and_gradient(members, xs, objective(sequences, ys))
        adam.step(gradient, rate * max(0.01, 0.5 * (1 + math.cos(math.pi * step / ROUND))))


def _probe(members: Members, sequences: Sequences, hard: _Hard, k: int) -> Finished:
    """Look at fresh sequences of each length, keep what was wrong, and return the best member."""
    rates = []
    far = FAR * sequences.length
    for length in [*_lengths(sequences), *([far] if sequences.reaches(far) else [])]:
        n = 8192 if length == sequences.length else max(20480 // length, 128)
        xs, ys = sequences.unusual(n, length)
        failed = wrong_sequences(members, sequences, xs, ys)
        rates.append(failed.float().mean(1))
        if length <= STRETCH[-1] * sequences.length and bool(failed.any()):
            which = failed.any(0)
            hard.add(xs[which], ys[which])
    table = torch.stack(rates, 1)  # [member, length]
    order = sorted(range(len(members)), key=lambda e: (float(table[e, 0]), float(table[e, 1:].sum())))
    e = order[0]
    return Finished(members.subset(torch.tensor([e])), float(table[e, 0]), tuple(table[e, 1:].tolist()), k)
