"""Planted groups and labels of states, found again."""

from __future__ import annotations

from itertools import combinations, pairwise

import numpy as np
import pytest
from tests.programs.automata import automaton, random_automaton

from pellucid.programs.states import Automaton
from pellucid.programs.states.abelian import counting, smith
from pellucid.programs.states.automaton import UNKNOWN
from pellucid.programs.states.labels import labellings
from pellucid.programs.states.search import Extracted


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
