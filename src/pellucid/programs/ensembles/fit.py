"""One call from a task, or from data, to a trained network."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from pellucid.core.allocator import keep_freed_memory
from pellucid.programs.ensembles.affine import impulse_response, realisations
from pellucid.programs.ensembles.budget import Budget
from pellucid.programs.ensembles.checks import network_errors
from pellucid.programs.ensembles.config import TrainingConfig
from pellucid.programs.ensembles.finish import FAR, STRETCH, Finished, finish
from pellucid.programs.ensembles.ladder import LADDER, Rung
from pellucid.programs.ensembles.members import network_of
from pellucid.programs.ensembles.search import search
from pellucid.programs.ensembles.sequences import Sequences
from pellucid.programs.networks.recurrent import RecurrentNetwork
from pellucid.programs.tasks.base import Task
from pellucid.programs.tasks.examples import Examples

NEAR = 0.05
"""Rate of wrong sequences below which a member is worth repairing before a larger shape is tried."""
LARGEST_AFFINE = 16
"""Hidden size up to which affine networks are tried."""


@dataclass(frozen=True)
class Trained:
    """A network, and what it gets wrong on sequences that no training step saw."""

    network: RecurrentNetwork
    method: str
    """'least squares' or 'gradient'."""
    errors: dict[int, tuple[int, int]]
    """Length -> (sequences with a wrong output, sequences looked at)."""
    length: int
    """Training length."""
    seconds: float
    """CPU seconds of the search."""

    @property
    def exact(self) -> bool:
        """Whether no sequence of training length was wrong."""
        return self.errors[self.length][0] == 0

    @property
    def exact_longer(self) -> bool:
        """Whether no sequence of any length looked at was wrong."""
        return all(wrong == 0 for wrong, _ in self.errors.values())


def train(
    source: Task | Examples,
    config: TrainingConfig | None = None,
    progress: Callable[[str], None] | None = None,
    ladder: tuple[Rung, ...] = LADDER,
) -> Trained:
    """Train recurrent networks on a task, from simple to complex, until one makes no error on fresh sequences.

    Affine networks come first, by least squares; then the ensembles of the ladder. Only sampled sequences and their
    outputs are looked at, never the task's name or rule. The best network is returned also when it makes errors:
    `Trained.errors` says how many.
    """
    keep_freed_memory()
    config = config or TrainingConfig()
    budget = Budget(config.seconds, progress)
    sequences = Sequences(source, config)
    if config.affine:
        network = _affine(sequences, config)
        if network is not None:
            return _checked(network, "least squares", sequences, config, budget)
    best: Trained | None = None
    for rung in ladder:
        found = search(rung, sequences, config, budget)
        if found.best <= NEAR or rung == ladder[-1] or budget.over:
            rounds = 8 if rung != ladder[-1] else 1000
            trained = _finished(finish(found.members, sequences, config, budget, rounds), sequences, config, budget)
            best = min([trained] + ([best] if best else []), key=_rank)
        if (best is not None and best.exact) or budget.over:
            break
    assert best is not None
    return best


def _rank(trained: Trained) -> tuple[float, ...]:
    rates = {length: wrong / n for length, (wrong, n) in trained.errors.items()}
    return (rates.pop(trained.length), sum(rates.values()))


def _affine(sequences: Sequences, config: TrainingConfig) -> RecurrentNetwork | None:
    """Return the smallest affine network without an error on fresh sequences, or None."""
    xs, ys = sequences.pool(sequences.length)
    xs, ys = xs[:4096], ys[:4096]
    response, error = impulse_response(xs, ys)
    if not error < 0.75:
        return None
    for network in realisations(response, LARGEST_AFFINE):
        counts = (network_errors(network, sequences, n, sequences.length)[0] for n in (256, config.checked))
        if all(count == 0 for count in counts):
            return network
    return None


def _finished(finished: Finished, sequences: Sequences, config: TrainingConfig, budget: Budget) -> Trained:
    network = network_of(sequences.scaling.folded(finished.member), 0)
    return _checked(network, "gradient", sequences, config, budget)


def _checked(network: RecurrentNetwork, method: str, sequences: Sequences, config: TrainingConfig, budget: Budget) -> Trained:
    errors = {sequences.length: network_errors(network, sequences, config.checked, sequences.length)}
    for stretch in (*STRETCH[1:], FAR):
        length = sequences.length * stretch
        if sequences.reaches(length):
            errors[length] = network_errors(network, sequences, 2048 // stretch, length)
    return Trained(network, method, errors, sequences.length, budget.spent)
