"""Planted automata, lattices and groups, found again; smallest automata against a naive refinement."""

from __future__ import annotations

from itertools import combinations, pairwise

import networkx
import numpy as np
import pytest
import torch
from tests.programs import planted as p

from pellucid.programs.oracle import Oracle
from pellucid.programs.states import Automaton, TooManyStates, find_automaton
from pellucid.programs.states.abelian import counting, smith
from pellucid.programs.states.automaton import UNKNOWN, minimise, moore_states, reachable, transient
from pellucid.programs.states.labels import labellings
from pellucid.programs.states.lattice import Lattice, euclid, gcd_lattice, linear_lattice, lll, reduce_integer, shorter
from pellucid.programs.states.search import Extracted
from pellucid.programs.tasks.base import InputDomain


def automaton(after, output) -> Automaton:
    after, output = np.array(after), np.array(output)
    symbols = np.arange(after.shape[1])[:, None]
    return Automaton(symbols, after, output[:, :, None], np.ones(after.shape, np.int64))


def random_automaton(seed: int, n: int, symbols: int, outputs: int = 2) -> Automaton:
    generator = np.random.default_rng(seed)
    return automaton(generator.integers(0, n, (n, symbols)), generator.integers(0, outputs, (n, symbols)))


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


# ---- lattices


def same_lattice(a: np.ndarray, b: np.ndarray, atol: float) -> None:
    """Each basis is whole in the other."""
    assert len(a) == len(b)
    for x, y in ((a, b), (b, a)):
        inner = np.linalg.lstsq(x.T, y.T, rcond=None)[0]
        assert np.abs(inner - np.rint(inner)).max() < atol
        assert np.abs(inner.T @ x - y).max() < atol * np.abs(y).max()


def planted_basis(seed: int, rank: int, width: int) -> np.ndarray:
    generator = np.random.default_rng(seed)
    return np.linalg.qr(generator.normal(size=(width, width)))[0][:rank] * generator.uniform(0.7, 1.5, (rank, 1))


@pytest.mark.parametrize(("rank", "width"), [(1, 3), (2, 2), (2, 5), (3, 4), (4, 6)])
def test_lll_keeps_the_lattice_and_reduces_it(rank, width):
    generator = np.random.default_rng(rank)
    basis = planted_basis(rank, rank, width)
    unimodular = np.tril(generator.integers(-9, 10, (rank, rank)), -1) + np.eye(rank)
    skew = unimodular.T @ unimodular @ basis
    reduced = lll(skew)
    same_lattice(reduced, basis, 1e-6)
    _, r = np.linalg.qr(reduced.T)
    star, mu = np.abs(np.diag(r)), (r / np.diag(r)[:, None]).T
    for k in range(1, rank):
        assert np.abs(mu[k, :k]).max() <= 0.5 + 1e-9  # size-reduced
        assert star[k] ** 2 >= (0.75 - mu[k, k - 1] ** 2) * star[k - 1] ** 2 - 1e-9  # Lovasz


def test_integer_bases_stay_whole():
    reduced = reduce_integer(np.array([[101, 0], [57, 1]]))
    same_lattice(reduced.astype(float), np.array([[101.0, 0], [57, 1]]), 1e-9)
    assert np.linalg.norm(reduced, axis=1).max() < 20


@pytest.mark.parametrize("seed", range(5))
def test_euclid_on_vectors_is_the_greatest_common_divisor(seed):
    generator = np.random.default_rng(seed)
    step = planted_basis(seed, 1, 4)
    numbers = np.array([[6], [10], [15]])
    found = euclid(numbers @ step + 1e-4 * generator.normal(size=(3, 4)), 0.05)
    same_lattice(found, step, 0.02)
    same_lattice(euclid(np.array([[6.0], [9]]), 0.1), np.array([[3.0]]), 1e-9)
    assert len(euclid(np.zeros((2, 3)), 0.1)) == 0


@pytest.mark.parametrize("rank", [1, 2, 3, 4])
@pytest.mark.parametrize("seed", range(3))
def test_lattices_are_recovered_from_hidden_states_with_noise(seed, rank):
    generator = np.random.default_rng(seed)
    basis, origin = planted_basis(seed, rank, 5), generator.normal(size=5)
    z = generator.integers(0, 6, (120, rank))
    hidden = z @ basis + origin + 0.005 * generator.normal(size=(120, 5))
    lattice = gcd_lattice(hidden, hidden[0], 0.2)
    assert lattice is not None and lattice.error(hidden) < 0.04
    same_lattice(lattice.basis, basis, 0.02)
    coordinates = lattice.coordinates(hidden)
    assert np.abs(coordinates @ lattice.basis + lattice.origin - hidden).max() < 0.04
    assert len(np.unique(coordinates, axis=0)) == len(np.unique(z, axis=0))


def test_lattices_of_rank_five_or_none_are_refused():
    hidden = np.random.default_rng(0).normal(size=(50, 6))
    assert gcd_lattice(hidden, hidden[0], 0.01) is None
    assert gcd_lattice(np.ones((9, 3)), np.ones(3), 0.1) is None


@pytest.mark.parametrize("seed", range(3))
def test_the_linear_lattice_is_that_of_powers_of_the_recurrent_map_on_the_inputs(seed):
    generator = np.random.default_rng(seed)
    change = planted_basis(seed, 2, 2)
    z, x = generator.integers(-4, 5, (200, 2)), generator.integers(-3, 4, (200, 1))
    after = z @ np.array([[1, 0], [1, 1]]) + x @ np.array([[0, 2]])  # s1' = s1 + s2, s2' = s2 + 2 x
    noise = 1e-3 * generator.normal(size=(200, 2))
    lattice = linear_lattice(z @ change, x.astype(float), after @ change + noise, 0.1)
    assert lattice is not None
    same_lattice(lattice.basis, 2 * change, 0.05)


def test_of_two_lattices_the_shorter_description_is_kept():
    hidden = 3.0 * np.arange(8)[:, None]
    coarse, fine = Lattice(np.array([[3.0]]), np.zeros(1)), Lattice(np.array([[1.0]]), np.zeros(1))
    assert coarse.description_length(hidden) < fine.description_length(hidden)
    assert shorter([None, fine, coarse], hidden) is coarse and shorter([None], hidden) is None
    z = np.arange(8)
    assert coarse.description_length(hidden) == pytest.approx(np.log2(1 + z).mean(), abs=1e-6)


# ---- groups


def group_automaton(orders: tuple[int, ...], increments: list[tuple[int, ...]], seed: int = 0) -> Automaton:
    """States are the elements of Z/n_1 x ..., numbered at random with 0 as the start; symbol a adds increments[a]."""
    elements = list(np.ndindex(*orders))
    shuffled = [0, *(1 + np.random.default_rng(seed).permutation(len(elements) - 1))]
    number = {element: int(place) for element, place in zip(elements, shuffled, strict=True)}
    after = np.zeros((len(elements), len(increments)), np.int64)
    for element in elements:
        for a, step in enumerate(increments):
            total = tuple((e + s) % n for e, s, n in zip(element, step, orders, strict=True))
            after[number[element], a] = number[total]
    return automaton(after, after)


GROUPS = {
    "Z/5": ((5,), [(0,), (1,), (2,)], (5,)),
    "Z/12": ((12,), [(5,), (3,)], (12,)),
    "Z/2 x Z/2": ((2, 2), [(0, 1), (1, 0)], (2, 2)),
    "Z/2 x Z/3 is cyclic": ((2, 3), [(1, 0), (0, 1)], (6,)),
    "Z/2 x Z/4": ((2, 4), [(1, 0), (0, 1), (1, 1)], (2, 4)),
}


@pytest.mark.parametrize("name", GROUPS)
def test_abelian_groups_are_recovered_with_labels_that_add(name):
    orders, increments, wanted = GROUPS[name]
    machine = group_automaton(orders, increments)
    found = counting(machine)
    assert found is not None and tuple(sorted(found.orders)) == wanted and found.covered.all()
    assert len(np.unique(found.labels, axis=0)) == machine.n_states
    moduli = np.array(found.orders)
    for s in range(machine.n_states):
        for a in range(len(increments)):
            assert np.array_equal((found.labels[s] + found.increments[a]) % moduli, found.labels[machine.next[s, a]])


def test_an_unbounded_counter_is_a_free_group_and_absorbing_states_have_no_label():
    depth = 7
    after = [[s + 1, max(s - 1, 0) if s else depth + 1] for s in range(depth)]
    after += [[UNKNOWN, depth - 1], [depth + 1, depth + 1]]  # the deepest known, and the state after too many closings
    found = counting(automaton(after, np.zeros((depth + 2, 2), int)))
    assert found is not None and found.orders == (0,)
    sign = int(found.increments[0, 0])
    assert abs(sign) == 1 and found.increments.tolist() == [[sign], [-sign]]
    assert (sign * found.labels[: depth + 1, 0]).tolist() == list(range(depth + 1))
    assert found.covered.tolist() == [True] * (depth + 1) + [False]


def test_machines_that_do_not_count_have_no_group():
    assert counting(automaton([[0, 1], [0, 1]], [[0, 0], [1, 1]])) is None  # the last input
    assert counting(automaton([[0, 0]], [[0, 1]])) is None


@pytest.mark.parametrize("seed", range(10))
def test_smith_normal_form_gives_orders_that_divide_each_other_and_a_unimodular_change(seed):
    generator = np.random.default_rng(seed)
    n = int(generator.integers(1, 5))
    relations = generator.integers(-6, 7, (int(generator.integers(0, 6)), n))
    orders, change = smith(relations, n)
    assert abs(round(np.linalg.det(change))) == 1
    finite = [order for order in orders if order]
    assert orders == finite + [0] * (n - len(finite)) and all(b % a == 0 for a, b in pairwise(finite))
    assert len(finite) == (np.linalg.matrix_rank(relations) if len(relations) else 0)
    mapped = relations @ change
    assert all((mapped[:, j] % order == 0).all() if order else not mapped[:, j].any() for j, order in enumerate(orders))
    minors = [abs(round(np.linalg.det(relations[list(rows)]))) for rows in combinations(range(len(relations)), n)]
    if len(finite) == n:  # the order of the group is the greatest common divisor of all largest minors
        assert np.prod(finite) == np.gcd.reduce(minors)


# ---- labels


def labels_of(machine: Automaton) -> dict[str, np.ndarray]:
    hidden = np.arange(machine.n_states)[:, None] ** 2.0
    extracted = Extracted(machine, hidden, np.zeros(machine.n_states), 0.0)
    return {labelling.meaning: labelling.columns for labelling in labellings(extracted)}


def test_labels_name_the_last_output_and_the_last_input_where_they_tell_states_apart():
    last = automaton([[0, 1, 2]] * 3, [[0, 0, 0], [1, 1, 1], [2, 2, 2]])
    assert labels_of(last)["the last input"][:, 0].tolist() == [0, 1, 2]
    total = automaton([[0, 1], [1, 0]], [[0, 1], [1, 0]])
    assert labels_of(total)["the last output"][:, 0].tolist() == [0, 1]


@pytest.mark.parametrize("n", [3, 5, 7])
def test_remainders_of_a_division_are_found_as_labels_under_any_numbering(n):
    """next = (2 r + x) % n: no group, as doubling is no count; states are numbered at random."""
    number = [0, *(1 + np.random.default_rng(n).permutation(n - 1))]
    after, output = np.zeros((n, 2), np.int64), np.zeros((n, 2), np.int64)
    for r in range(n):
        for x in (0, 1):
            after[number[r], x], output[number[r], x] = number[(2 * r + x) % n], (2 * r + x) // n
    labels = labels_of(automaton(after, output))[f"a remainder modulo {n}"][:, 0]
    steps = [[(m * labels[s] + c * x + d) % n == labels[after[s, x]] for s in range(n) for x in (0, 1)]
             for m in range(n) for c in range(n) for d in (0, 1, n - 1)]  # fmt: skip
    assert sorted(labels) == list(range(n)) and any(all(holds) for holds in steps)


def test_a_single_state_needs_no_label_and_every_automaton_has_state_numbers():
    assert list(labels_of(automaton([[0, 0]], [[0, 1]]))) == ["no state"]
    machine = random_automaton(3, 6, 2)
    assert labels_of(machine)["state number, in order of discovery"][:, 0].tolist() == list(range(6))
