"""Whether a machine and an automaton give the same outputs on every word, and how far the network keeps to the automaton."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from jaxtyping import Int

from pellucid.programs.language.machine import Machine
from pellucid.programs.oracle import Oracle, to_integers
from pellucid.programs.states.automaton import UNKNOWN, Automaton

MOST_PAIRS, MOST_STEPS = 20_000, 2000
"""Where a walk through the product ends without a proof: a machine that counts without end has a new pair at every step."""


@dataclass(frozen=True)
class Equivalence:
    """What a walk through all pairs (state of the automaton, states of the machine) found."""

    pairs: int
    """Pairs that some word leads to."""
    closed: bool
    """Every pair was visited with every input and all transitions were known: the result holds for words of any length."""
    different: int
    """Transitions at which the outputs differ."""

    @property
    def proven(self) -> bool:
        """Say whether machine and automaton agree on every word of any length."""
        return self.closed and self.different == 0

    def to_json(self) -> dict[str, Any]:
        """Return plain values."""
        return {**asdict(self), "proven": self.proven}


def compare(machine: Machine, automaton: Automaton) -> Equivalence:
    """Walk through the product of machine and automaton, breadth first, all inputs at each pair.

    At most 20,000 pairs and 2,000 steps are walked; beyond that the result is not closed.
    """
    names = [state.name for state in machine.states]
    start = (0, *(machine.start(1)[name].item() for name in names))
    seen, level, different, closed = {start}, [start], 0, True
    n_symbols = len(automaton.symbols)
    for _ in range(MOST_STEPS):
        known = np.repeat(np.array([pair[0] for pair in level]), n_symbols)
        values = {name: np.repeat(np.array([pair[i + 1] for pair in level]), n_symbols) for i, name in enumerate(names)}
        numbers = np.tile(np.arange(n_symbols), len(level))
        after, outputs = machine.step(values, automaton.symbols[numbers])
        usable = automaton.known[known, numbers] == 1
        different += int(((outputs != automaton.output[known, numbers]).any(1) & usable).sum())
        next_state = automaton.next[known, numbers]
        closed &= bool((next_state != UNKNOWN).all())
        keep = np.flatnonzero(next_state != UNKNOWN)
        rows = zip(next_state[keep].tolist(), *(after[name][keep].tolist() for name in names), strict=True)
        level = [pair for pair in dict.fromkeys(rows) if pair not in seen]
        seen.update(level)
        if not level or len(seen) > MOST_PAIRS:
            break
    return Equivalence(len(seen), closed and not level, different)


@dataclass(frozen=True)
class Bounds:
    """How the network, state by state and input by input, keeps to the automaton on random words of the training length."""

    visited: int
    """Pairs (state, input) that occurred."""
    pairs: int
    """Pairs that there are."""
    largest_deviation: float
    """Largest distance of an output from the automaton's, over all visits; below 0.5 it rounds to the same integer."""
    outside: int
    """Visits with an output that rounds to another integer."""
    visits: int

    def to_json(self) -> dict[str, Any]:
        """Return plain values."""
        return asdict(self)


def measure_bounds(oracle: Oracle, automaton: Automaton, xs: Int[np.ndarray, "n t i"]) -> Bounds:
    """Follow network and automaton side by side, and from every state with every input once more in turn.

    Each pair (state, input) that the words pass through is visited with the network's own hidden states of that moment.
    """
    prefixes = _through_every_pair(automaton, oracle.domain.length)
    words = [xs, *prefixes]
    deviations, outside, visits = 0.0, 0, 0
    visited: set[tuple[int, int]] = set()
    for word in words:
        raw, (states, wanted) = oracle.outputs(word), automaton.run(word)
        numbers = automaton.numbers(word)
        usable = (states != UNKNOWN) & (automaton.known[states, numbers] == 1)
        deviations = max(deviations, float(np.abs(raw - wanted)[usable].max(initial=0)))
        outside += int((to_integers(raw) != wanted)[usable].any(-1).sum())
        visits += int(usable.sum())
        visited |= set(zip(states[usable].tolist(), numbers[usable].tolist(), strict=True))
    return Bounds(len(visited), int(automaton.known.sum()), deviations, outside, visits)


def _through_every_pair(automaton: Automaton, length: int) -> list[np.ndarray]:
    """Return, by length, the shortest word to each state followed by each input."""
    by_length: dict[int, list[list[int]]] = {}
    for word in automaton.words():
        if len(word) < length:
            by_length.setdefault(len(word) + 1, []).extend([*word, a] for a in range(len(automaton.symbols)))
    return [automaton.symbols[np.array(words)] for _, words in sorted(by_length.items())]
