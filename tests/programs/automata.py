"""Automata made by hand and at random."""

from __future__ import annotations

import numpy as np

from pellucid.programs.states import Automaton


def automaton(after, output) -> Automaton:
    after, output = np.array(after), np.array(output)
    symbols = np.arange(after.shape[1])[:, None]
    return Automaton(symbols, after, output[:, :, None], np.ones(after.shape, np.int64))


def random_automaton(seed: int, n: int, symbols: int, outputs: int = 2) -> Automaton:
    generator = np.random.default_rng(seed)
    return automaton(generator.integers(0, n, (n, symbols)), generator.integers(0, outputs, (n, symbols)))
