"""Integers for the states of an automaton; a good choice makes its transitions a short formula."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product

import numpy as np

from pellucid.programs.states.abelian import counting
from pellucid.programs.states.automaton import UNKNOWN, Automaton
from pellucid.programs.states.lattice import gcd_lattice, linear_lattice, shorter
from pellucid.programs.states.search import Extracted

MOST_MODULAR = 40
MOST_TRIES = 40_000


@dataclass(frozen=True)
class Labelling:
    """A tuple of integers for each state."""

    columns: np.ndarray
    """[n, d]"""
    meaning: str
    """What the integers are, for the reader."""
    covered: np.ndarray | None = None
    """States that have a label; all if None."""


def labellings(extracted: Extracted) -> Iterator[Labelling]:
    """Yield integer labels of the states, by what they may mean; each is checked by whether formulas come of it."""
    automaton = extracted.automaton
    if automaton.n_states == 1:
        yield Labelling(np.zeros((1, 0), np.int64), "no state")
        return
    for kind in (_last_output, _last_input, _counters, _modular):
        yield from kind(automaton)
    yield from _ranks(extracted)
    yield from _lattice(extracted)
    yield Labelling(np.arange(automaton.n_states)[:, None], "state number, in order of discovery")


def _arrivals(automaton: Automaton, values: np.ndarray) -> np.ndarray | None:
    """Return the value [n, d] that all transitions into a state share; None if they do not. Start alone may have none."""
    n = automaton.n_states
    result = np.zeros((n, values.shape[-1]), np.int64)
    seen = np.zeros(n, bool)
    for s, a in np.argwhere((automaton.next != UNKNOWN) & (automaton.known == 1)):
        after, value = automaton.next[s, a], values[s, a]
        if seen[after] and not np.array_equal(result[after], value):
            return None
        result[after], seen[after] = value, True
    if not seen[0]:
        result[0] = _UNSEEN
    return result


_UNSEEN = np.iinfo(np.int64).min


def _with_start(columns: np.ndarray, meaning: str) -> Iterator[Labelling]:
    """Yield labels with a value for the start where no transition gives one: 0, or beyond either end."""
    if columns[0, 0] != _UNSEEN:
        yield Labelling(columns, meaning)
        return
    low, high = int(columns[1:].min()), int(columns[1:].max())
    for start in dict.fromkeys((0, low, high, low - 1, high + 1)):
        filled = columns.copy()
        filled[0] = start
        yield Labelling(filled, meaning)


def _last_output(automaton: Automaton) -> Iterator[Labelling]:
    columns = _arrivals(automaton, automaton.output)
    if columns is not None:
        yield from _with_start(columns, "the last output")


def _last_input(automaton: Automaton) -> Iterator[Labelling]:
    symbols = np.broadcast_to(automaton.symbols, (automaton.n_states, *automaton.symbols.shape))
    columns = _arrivals(automaton, symbols)
    if columns is not None:
        yield from _with_start(columns, "the last input")


def _counters(automaton: Automaton) -> Iterator[Labelling]:
    found = counting(automaton)
    if found is None:
        return
    kinds = ["a counter" if not order else f"a counter modulo {order}" for order in found.orders]
    free = [j for j, order in enumerate(found.orders) if not order]
    chosen = free or list(range(len(found.orders)))
    columns = found.labels[:, chosen].copy()
    meaning = " and ".join(kinds[j] for j in chosen)
    if found.covered.all():
        yield Labelling(columns, meaning)
        return
    yield Labelling(columns, f"{meaning}, without absorbing states", found.covered)
    if len(chosen) == 1 and (~found.covered).sum() == 1:
        inside = columns[found.covered]
        for outside in (int(inside.min()) - 1, int(inside.max()) + 1):
            columns = columns.copy()
            columns[~found.covered] = outside
            yield Labelling(columns, f"{meaning}, and {outside} for the absorbing state")


def _modular(automaton: Automaton) -> Iterator[Labelling]:
    """Labels with next = (m z + c x + d) % n for all n states: remainders."""
    n, width = automaton.n_states, automaton.symbols.shape[1]
    if n > MOST_MODULAR or not automaton.complete or n ** (width + 1) * 3 > MOST_TRIES:
        return
    weights = sorted(product(range(n), repeat=width), key=lambda w: (sum(w), w))[1:]
    for d, c, m in product((0, 1, n - 1), weights, range(n)):
        labels = _propagate(automaton, m, automaton.symbols @ np.array(c) + d)
        if labels is not None:
            yield Labelling(labels[:, None], f"a remainder modulo {n}")
            return


def _propagate(automaton: Automaton, m: int, added: np.ndarray) -> np.ndarray | None:
    n = automaton.n_states
    labels = np.full(n, UNKNOWN)
    labels[0] = 0
    queue = [0]
    for state in queue:
        values = (m * labels[state] + added) % n
        for after, value in zip(automaton.next[state], values, strict=True):
            if labels[after] == UNKNOWN:
                labels[after] = value
                queue.append(int(after))
            elif labels[after] != value:
                return None
    return labels if len(np.unique(labels)) == n else None


def _ranks(extracted: Extracted) -> Iterator[Labelling]:
    """Labels by an order: distance from the start, mean output to come, place along the main direction of hidden states."""
    distance = np.array([len(word) for word in extracted.automaton.words()])
    yield Labelling(distance[:, None], "the number of steps it takes from the start")
    behaviour = np.unique(np.round(extracted.behaviour, 9), return_inverse=True)[1].ravel()
    yield Labelling(behaviour[:, None], "the rank of the outputs to come")
    centred = extracted.hidden - extracted.hidden.mean(0)
    direction = np.linalg.svd(centred, full_matrices=False)[2][0]
    place = (centred @ direction).argsort().argsort()
    place = place.max() - place if place[0] > place.mean() else place
    yield Labelling(place[:, None], "the place along the main direction of the hidden states")


def _lattice(extracted: Extracted) -> Iterator[Labelling]:
    """Labels by the integer lattice that the hidden states lie on, if they do."""
    hidden, automaton = extracted.hidden, extracted.automaton
    if len(hidden) < 3:
        return
    scale = float(np.linalg.norm(hidden - hidden.mean(0), axis=1).max())
    rows, symbols = np.nonzero(automaton.next != UNKNOWN)
    after = hidden[automaton.next[rows, symbols]]
    noise = 0.06 * scale
    from_inputs = linear_lattice(hidden[rows], automaton.symbols[symbols].astype(float), after, noise) if len(rows) else None
    lattice = shorter([gcd_lattice(hidden, hidden[0], noise), from_inputs], hidden)
    if lattice is None or lattice.error(hidden) > 0.3:
        return
    columns = lattice.coordinates(hidden)
    columns = columns - columns.min(0)
    if len(np.unique(columns, axis=0)) == len(columns):
        yield Labelling(columns, f"coordinates in a lattice of rank {columns.shape[1]} that the hidden states lie on")
