"""Finite automata found in a network: breadth-first search from the start, merging states that behave alike."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Int

from pellucid.core.errors import PellucidError
from pellucid.programs.oracle import Oracle, to_integers
from pellucid.programs.states.automaton import UNKNOWN, Automaton, minimise

MOST_STATES = 300
MOST_SYMBOLS = 256
TOLERANCES = (0.0, 0.003, 0.02)
"""Shares of probed outputs in which two states may differ and still count as one, tried in this order."""


class TooManyStates(PellucidError, ValueError):
    """A network has more states than an automaton may have."""

    def __init__(self, found: int, limit: int, depth: int) -> None:
        super().__init__(
            f"found {found} states within {depth} steps and there are more; the limit is {limit}. The network does not act as "
            "a small automaton within its training length: it counts, remembers numbers, or errs often"
        )
        self.found, self.limit = found, limit


@dataclass(frozen=True)
class Extracted:
    """An automaton and where its states lie in the network."""

    automaton: Automaton
    hidden: np.ndarray
    """One hidden state [n, s] for each state, the first that was found."""
    behaviour: np.ndarray
    """Mean output of each state over the probing words, summed over outputs."""
    tolerance: float
    """Share of probed outputs in which merged states were allowed to differ."""


def probing_words(oracle: Oracle, seed: int = 0) -> Int[np.ndarray, "w k i"]:
    """Return words that tell states apart: all of a short length, completed at random, and some at random."""
    symbols, length = oracle.symbols(), min(8, max(1, oracle.domain.length - 1))
    generator = np.random.default_rng(seed)
    full = 1
    while full < length and len(symbols) ** (full + 1) <= 300:
        full += 1
    if len(symbols) > 64:
        count, length, full = 60, min(length, 3), 1
        heads = generator.permutation(len(symbols))[:count, None]
    else:
        grids = np.meshgrid(*[np.arange(len(symbols))] * full, indexing="ij")
        heads = np.stack([grid.ravel() for grid in grids], 1)
        length = min(length, max(full, 4 if len(symbols) > 10 else 8))
    tails = generator.integers(0, len(symbols), (len(heads), length - full))
    extra = generator.integers(0, len(symbols), (40, length))
    return symbols[np.concatenate([np.concatenate([heads, tails], 1), extra])]


def find_automaton(oracle: Oracle, max_states: int = MOST_STATES) -> Extracted:
    """Return the automaton that the network is within its training length.

    Raises TooManyStates with the number found and the limit. Tolerance is raised step by step when exact merging finds
    too many.
    """
    words = probing_words(oracle)
    for tolerance in TOLERANCES:
        try:
            return _Search(oracle, words, tolerance, max_states).run()
        except TooManyStates as error:
            last = error
    raise last


class _Search:
    def __init__(self, oracle: Oracle, words: np.ndarray, tolerance: float, max_states: int) -> None:
        self.oracle, self.words, self.tolerance, self.max_states = oracle, words, tolerance, max_states
        self.symbols, self.steps = oracle.symbols(), oracle.domain.length
        self.n_probed = words.shape[1]
        self.hidden: list[np.ndarray] = []
        self.depth: list[int] = []
        self.answers: list[np.ndarray] = []  # [k, w * o], step first, so that a prefix of steps is a prefix of rows
        self.by_prefix: list[dict[bytes, list[int]]] = [{} for _ in range(self.n_probed + 1)]

    def run(self) -> Extracted:
        start = self.oracle.start()
        self._add(start, 0, self._answers(start[None])[0])
        after: list[np.ndarray] = []
        outputs: list[np.ndarray] = []
        done = 0
        while done < len(self.hidden):
            level = range(done, len(self.hidden))
            states, ys = self._children(level)
            usable = [s for s in level if self.depth[s] < self.steps]
            needed = self._needed() if usable else 0
            answers = self._answers(states) if self.depth[done] < self.steps - 1 else None
            for place, s in enumerate(level):
                rows = slice(place * len(self.symbols), (place + 1) * len(self.symbols))
                found = [UNKNOWN] * len(self.symbols)
                if answers is not None:
                    found = [
                        self._place(h, self.depth[s] + 1, answer, needed)
                        for h, answer in zip(states[rows], answers[rows], strict=True)
                    ]
                after.append(np.array(found))
                outputs.append(ys[rows])
            done = level.stop
        return self._result(np.stack(after), np.stack(outputs))

    def _children(self, level: range) -> tuple[np.ndarray, np.ndarray]:
        parents = np.repeat(np.stack([self.hidden[s] for s in level]), len(self.symbols), axis=0)
        states, ys = self.oracle.step(parents, np.tile(self.symbols, (len(level), 1)))
        return states, to_integers(ys)

    def _answers(self, states: np.ndarray) -> np.ndarray:
        answers = self.oracle.answers(states, self.words)  # [n, w, k, o]
        return answers.transpose(0, 2, 1, 3).reshape(len(states), self.n_probed, -1)

    def _add(self, h: np.ndarray, depth: int, answer: np.ndarray) -> int:
        if len(self.hidden) >= self.max_states:
            raise TooManyStates(len(self.hidden) + 1, self.max_states, depth)
        number = len(self.hidden)
        self.hidden.append(h)
        self.depth.append(depth)
        self.answers.append(answer)
        for k in range(1, min(self.n_probed, self.steps - depth) + 1):
            self.by_prefix[k].setdefault(answer[:k].tobytes(), []).append(number)
        return number

    def _place(self, h: np.ndarray, depth: int, answer: np.ndarray, needed: int) -> int:
        """Return the state that a hidden state belongs to, a new one, or UNKNOWN where too few steps are left to tell."""
        k = min(self.n_probed, self.steps - depth)
        if k < 1:
            return UNKNOWN
        same = self.by_prefix[k].get(answer[:k].tobytes(), [])
        if not same and self.tolerance:
            same = self._similar(answer, k)
        if not same:
            return self._add(h, depth, answer)
        return same[0] if k > needed or (len(same) == 1 and k == self.n_probed and needed < k) else UNKNOWN

    def _similar(self, answer: np.ndarray, k: int) -> list[int]:
        longest = [min(k, self.steps - depth) for depth in self.depth]
        shares = [float((known[:n] != answer[:n]).mean()) for known, n in zip(self.answers, longest, strict=True)]
        best = int(np.argmin(shares))
        return [best] if shares[best] <= self.tolerance else []

    def _needed(self) -> int:
        """Return how many steps it takes at most to tell two of the known states apart."""
        chosen = [s for s, depth in enumerate(self.depth) if self.steps - depth >= 1][:64]
        needed = 0
        for i, s in enumerate(chosen):
            for other in chosen[:i]:
                k = min(self.n_probed, self.steps - max(self.depth[s], self.depth[other]))
                differs = (self.answers[s][:k] != self.answers[other][:k]).mean(1) > self.tolerance
                needed = max(needed, int(differs.argmax()) + 1 if differs.any() else 0)
        return needed

    def _result(self, after: np.ndarray, outputs: np.ndarray) -> Extracted:
        known = np.ones(after.shape, np.int64)
        known[[s for s, depth in enumerate(self.depth) if depth >= self.steps]] = 0
        automaton = Automaton(self.symbols, after, outputs, known)
        smaller = minimise(automaton)
        hidden = np.stack(self.hidden)
        behaviour = np.array([self._mean(s) for s in range(len(self.hidden))])
        if smaller.n_states == automaton.n_states:
            return Extracted(automaton, hidden, behaviour, self.tolerance)
        kept = [self._state_after(automaton, word) for word in smaller.words()]
        return Extracted(smaller, hidden[kept], behaviour[kept], self.tolerance)

    def _mean(self, s: int) -> float:
        k = max(1, min(self.n_probed, self.steps - self.depth[s]))
        return float(self.answers[s][:1].mean() if k == 1 else self.answers[s][:k].mean(1) @ 0.5 ** np.arange(k))

    @staticmethod
    def _state_after(automaton: Automaton, word: list[int]) -> int:
        state = 0
        for symbol in word:
            state = int(automaton.next[state, symbol])
        return state
