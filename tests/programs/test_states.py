"""Planted automata, found again; smallest automata against a naive refinement."""

from __future__ import annotations

import networkx
import numpy as np
import pytest
import torch
from tests.programs import planted as p
from tests.programs.automata import automaton, random_automaton

from pellucid.programs.oracle import Oracle
from pellucid.programs.states import Automaton, TooManyStates, find_automaton
from pellucid.programs.states.automaton import UNKNOWN, minimise, moore_states, reachable, transient
from pellucid.programs.tasks.base import InputDomain


def naive_blocks(machine: Automaton) -> np.ndarray:
    """Moore's refinement, one round after the other, on the states that a word reaches."""
    block = np.unique(machine.output.reshape(machine.n_states, -1), axis=0, return_inverse=True)[1].ravel()
    while True:
        rows = np.concatenate([block[:, None], block[machine.next]], 1)
        finer = np.unique(rows, axis=0, return_inverse=True)[1].ravel()
        if finer.max() == block.max():
            return block
        block = finer


def reached(machine: Automaton) -> set[int]:
    graph = networkx.DiGraph([(s, int(after)) for s, row in enumerate(machine.next) for after in row if after != UNKNOWN])
    return {0, *networkx.descendants(graph, 0)} if 0 in graph else {0}


def words(machine: Automaton, n: int = 200, length: int = 12, seed: int = 0) -> np.ndarray:
    return machine.symbols[np.random.default_rng(seed).integers(0, len(machine.symbols), (n, length))]


def isomorphic(a: Automaton, b: Automaton) -> bool:
    """Equal once states are numbered in breadth-first order from the start."""
    a, b = reachable(a), reachable(b)
    return np.array_equal(a.next, b.next) and np.array_equal(a.output, b.output)


@pytest.mark.parametrize("seed", range(25))
def test_minimising_gives_as_many_states_as_naive_refinement_and_the_same_outputs(seed):
    generator = np.random.default_rng(seed)
    core = random_automaton(seed, int(generator.integers(1, 9)), int(generator.integers(1, 4)))
    copies = generator.integers(0, core.n_states, 3 * core.n_states)  # states of a larger machine stand for those of the core
    copies[: core.n_states] = np.arange(core.n_states)
    standing = [np.flatnonzero(copies == s) for s in range(core.n_states)]
    after = np.array([[generator.choice(standing[s]) for s in core.next[c]] for c in copies])
    large = Automaton(core.symbols, after, core.output[copies], np.ones(after.shape, np.int64))
    small = minimise(large)
    blocks = naive_blocks(large)
    assert small.n_states == len({int(blocks[s]) for s in reached(large)})
    assert isomorphic(small, minimise(core))
    xs = words(large)
    assert np.array_equal(small.run(xs)[1], large.run(xs)[1]) and np.array_equal(small.run(xs)[1], core.run(xs)[1])
    assert isomorphic(minimise(small), small)


def test_unreachable_states_go_and_a_partial_automaton_is_not_merged():
    after, output = [[1, 0], [1, 0], [0, 1], [3, 2]], [[0, 1], [1, 1], [0, 0], [1, 0]]
    small = reachable(automaton(after, output))
    assert small.n_states == 2 and small.next.tolist() == after[:2] and small.output[:, :, 0].tolist() == output[:2]
    partial = automaton([[1, UNKNOWN], [0, 0]], [[0, 0], [0, 0]])
    assert not partial.complete and minimise(partial) is partial
    assert reachable(partial).next.tolist() == [[1, UNKNOWN], [0, 0]]


@pytest.mark.parametrize("seed", range(8))
def test_transient_states_are_those_on_no_cycle(seed):
    machine = random_automaton(seed, 9, 1 + seed % 2)
    graph = networkx.DiGraph([(s, int(after)) for s, row in enumerate(machine.next) for after in row])
    cyclic = {s for part in networkx.strongly_connected_components(graph) if len(part) > 1 for s in part}
    cyclic |= {s for s in graph if graph.has_edge(s, s)}
    assert transient(machine) == sorted(set(range(9)) - cyclic)


@pytest.mark.parametrize("seed", range(6))
def test_shortest_words_lead_to_their_states(seed):
    machine = reachable(random_automaton(seed, 7, 2))
    graph = networkx.DiGraph([(s, int(after)) for s, row in enumerate(machine.next) for after in row])
    far = networkx.single_source_shortest_path_length(graph, 0)
    for state, word in enumerate(machine.words()):
        at = 0
        for symbol in word:
            at = int(machine.next[at, symbol])
        assert at == state and len(word) == far[state]


def test_moore_states_are_the_pairs_of_state_and_output_that_arrive():
    carry = automaton([[0, 0, 1], [0, 1, 1]], [[0, 1, 0], [1, 0, 1]])  # sums of two bits with a carry
    assert moore_states(carry) == 4
    assert moore_states(automaton([[0]], [[5]])) == 1
    assert moore_states(automaton([[1], [1]], [[0], [1]])) == 3  # the start, and two that differ in output


def test_a_run_stops_to_know_where_the_automaton_does():
    machine = automaton([[1, UNKNOWN], [0, 0]], [[3, 4], [5, 6]])
    states, outputs = machine.run(np.array([[[0], [1], [1], [0]]]))
    assert states.tolist() == [[0, 1, 0, UNKNOWN]] and outputs[0, :3, 0].tolist() == [3, 6, 4]
    rows = machine.to_json()["transitions"]
    assert [0, 1, None, [4]] in rows and len(rows) == 4


def oracle_of(machine: Automaton, length: int = 10, seed: int = 0, noise: float = 0.02) -> Oracle:
    """A network that is this automaton behind a random basis."""
    after, marks = torch.from_numpy(machine.next), torch.from_numpy(machine.output[:, :, 0])
    step = p.scalar(lambda s, x: after[s, x[:, 0]], lambda s, x: marks[s, x[:, 0]])
    return Oracle(p.Planted(step, 1, 1, seed, noise), InputDomain(0, len(machine.symbols) - 1, length=length))


@pytest.mark.parametrize("seed", range(10))
def test_breadth_first_search_finds_exactly_the_planted_automaton(seed):
    planted = random_automaton(100 + seed, 3 + seed % 6, 2 + seed % 3)
    found = find_automaton(oracle_of(planted, seed=seed))
    assert found.automaton.complete and found.tolerance == 0.0
    assert isomorphic(found.automaton, minimise(planted))
    assert len(found.hidden) == len(found.behaviour) == found.automaton.n_states


def test_a_start_that_never_comes_back_is_a_state_of_its_own():
    planted = automaton([[1, 2], [1, 2], [2, 1]], [[7, 7], [0, 1], [1, 0]])
    found = find_automaton(oracle_of(planted)).automaton
    assert isomorphic(found, planted) and transient(found) == [0]


def test_states_with_equal_outputs_and_different_futures_are_kept_apart():
    """The output is 1 only after five ones in a row: the first four states say 0 for a while."""
    planted = automaton([[0, 1], [0, 2], [0, 3], [0, 4], [0, 4]], [[0, 0], [0, 0], [0, 0], [0, 0], [0, 1]])
    assert isomorphic(find_automaton(oracle_of(planted)).automaton, planted)


def test_too_many_states_say_how_many_and_the_limit():
    counter = p.scalar(lambda s, x: s + x[:, 0], lambda s, x: s + x[:, 0])
    oracle = Oracle(p.Planted(counter, 1, 1), InputDomain(0, 9))
    with pytest.raises(TooManyStates, match=r"found 41 states within \d+ steps and there are more; the limit is 40") as caught:
        find_automaton(oracle, 40)
    assert (caught.value.found, caught.value.limit) == (41, 40)


def test_within_the_training_length_an_endless_counter_is_known_only_so_far():
    counter = p.scalar(lambda s, x: s + x[:, 0], lambda s, x: s + x[:, 0])
    found = find_automaton(Oracle(p.Planted(counter, 1, 1), InputDomain(0, 1, length=6))).automaton
    assert not found.complete
    xs = words(found, 64, 6)
    states, outputs = found.run(xs)
    inside = states != UNKNOWN
    assert np.array_equal(outputs[:, :, 0][inside], xs[:, :, 0].cumsum(1)[inside]) and inside.mean() > 0.6
    assert found.next[0].tolist() == [0, 1] and found.n_states == 6
