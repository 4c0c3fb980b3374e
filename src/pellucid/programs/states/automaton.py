"""Finite automata with outputs on their transitions (Mealy), possibly with transitions that are not known."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Int

UNKNOWN = -1


@dataclass(frozen=True)
class Automaton:
    """States 0..n-1, of which 0 is the start; a symbol leads to a next state and gives an output.

    The start gives no output of its own, as a network gives none before its first input.
    """

    symbols: Int[np.ndarray, "a i"]
    """Inputs of a step, by number."""
    next: Int[np.ndarray, "n a"]
    """Next state; -1 where it is not known (deeper than the training length shows)."""
    output: Int[np.ndarray, "n a o"]
    """Output of each transition; 0 where the state's outputs are not known."""
    known: Int[np.ndarray, "n a"]
    """1 where the output of a transition is known."""

    @property
    def n_states(self) -> int:
        """Number of states."""
        return len(self.next)

    @property
    def complete(self) -> bool:
        """Say whether every transition is known, so that words of any length can be read."""
        return bool((self.next != UNKNOWN).all())

    def words(self) -> list[list[int]]:
        """Return a shortest word to each state, as numbers of symbols."""
        words: list[list[int] | None] = [None] * self.n_states
        words[0], queue = [], [0]
        for state in queue:
            for symbol, after in enumerate(self.next[state]):
                if after != UNKNOWN and words[after] is None:
                    words[after] = [*(words[state] or []), symbol]
                    queue.append(int(after))
        return [word or [] for word in words]

    def numbers(self, xs: Int[np.ndarray, "n t i"]) -> Int[np.ndarray, "n t"]:
        """Return the number of each input among the symbols, which are in lexicographic order."""
        low, base = self.symbols[0], self.symbols[-1] - self.symbols[0] + 1
        result = np.zeros(xs.shape[:2], np.int64)
        for i in range(xs.shape[2]):
            result = result * int(base[i]) + xs[:, :, i] - int(low[i])
        return result

    def run(self, xs: Int[np.ndarray, "n t i"]) -> tuple[Int[np.ndarray, "n t"], Int[np.ndarray, "n t o"]]:
        """Return the state before each input (-1 once it is unknown) and the outputs."""
        numbers, state = self.numbers(xs), np.zeros(len(xs), np.int64)
        states, outputs = np.zeros(xs.shape[:2], np.int64), np.zeros((*xs.shape[:2], self.output.shape[2]), np.int64)
        for t in range(xs.shape[1]):
            states[:, t], outputs[:, t] = state, self.output[state, numbers[:, t]]
            state = np.where(state == UNKNOWN, UNKNOWN, self.next[state, numbers[:, t]])
        return states, outputs

    def to_json(self) -> dict[str, Any]:
        """Return the automaton as plain values: symbols, start, and a row [state, symbol, next, output] a transition."""
        rows = [
            [s, a, int(self.next[s, a]) if self.next[s, a] != UNKNOWN else None, self.output[s, a].tolist()]
            for s in range(self.n_states)
            for a in range(len(self.symbols))
            if self.known[s, a]
        ]
        return {"kind": "mealy", "states": self.n_states, "start": 0, "symbols": self.symbols.tolist(), "transitions": rows}


def minimise(automaton: Automaton) -> Automaton:
    """Return the smallest automaton with the same outputs on every word (Hopcroft 1971); a partial one is returned as it is.

    States are split until all that remain together agree in outputs and in the blocks they lead to.
    """
    if not automaton.complete:
        return automaton
    block = _hopcroft(automaton)
    order = list(dict.fromkeys(block.tolist()))
    number = {b: i for i, b in enumerate(order)}
    first = [int(np.flatnonzero(block == b)[0]) for b in order]
    after = np.vectorize(lambda s: number[block[s]], otypes=[np.int64])(automaton.next[first])
    return reachable(Automaton(automaton.symbols, after, automaton.output[first], automaton.known[first]))


def _hopcroft(automaton: Automaton) -> np.ndarray:
    """Return the block of each state. Each split puts the smaller half on the list of splitters."""
    flat = automaton.output.reshape(automaton.n_states, -1)
    block = np.unique(flat, axis=0, return_inverse=True)[1].ravel()
    n_blocks = int(block.max()) + 1
    waiting = {(b, a) for b in range(n_blocks) for a in range(len(automaton.symbols))}
    while waiting:
        splitter, symbol = waiting.pop()
        leads = block[automaton.next[:, symbol]] == splitter
        for b in np.unique(block[leads]):
            members = np.flatnonzero(block == b)
            inside = members[leads[members]]
            if len(inside) == len(members):
                continue
            block[inside] = n_blocks
            smaller = n_blocks if 2 * len(inside) <= len(members) else int(b)
            for a in range(len(automaton.symbols)):
                waiting.add((n_blocks if (int(b), a) in waiting else smaller, a))
            n_blocks += 1
    return block


def reachable(automaton: Automaton) -> Automaton:
    """Return the automaton without the states that no word leads to, numbered in breadth-first order."""
    order = [0]
    for state in order:
        order += [int(s) for s in dict.fromkeys(automaton.next[state].tolist()) if s != UNKNOWN and s not in order]
    number = np.full(automaton.n_states + 1, UNKNOWN)
    number[order] = np.arange(len(order))
    after = np.where(automaton.next[order] == UNKNOWN, UNKNOWN, number[automaton.next[order]])
    return Automaton(automaton.symbols, after, automaton.output[order], automaton.known[order])


def transient(automaton: Automaton) -> list[int]:
    """Return the states that cannot be reached again from any state they lead to."""
    reach = np.zeros((automaton.n_states, automaton.n_states), bool)
    rows, _ = np.nonzero(automaton.next != UNKNOWN)
    reach[rows, automaton.next[automaton.next != UNKNOWN]] = True
    for _ in range(int(np.ceil(np.log2(automaton.n_states + 1)))):
        reach |= (reach.astype(np.float32) @ reach.astype(np.float32)) > 0
    return [s for s in range(automaton.n_states) if not reach[s, s]]


def moore_states(automaton: Automaton) -> int:
    """Return how many states the same machine has with outputs on its states (Moore), start included."""
    arrivals = {(0, ())}
    for s, a in np.argwhere((automaton.next != UNKNOWN) & (automaton.known == 1)):
        arrivals.add((int(automaton.next[s, a]), tuple(automaton.output[s, a].tolist())))
    has_start = any(state == 0 and output for state, output in arrivals)
    return len(arrivals) - int(has_start)
