"""Planted formulas of one integer, of linear forms, sums, rankings, operators and decisions, found again."""

from __future__ import annotations

import numpy as np
import pytest
from tests.programs.tables import right, table_of

from pellucid.programs.language.expression import Call, Lookup, Variable, bits, call, evaluate, parts
from pellucid.programs.regression import Table
from pellucid.programs.regression.additive import additive
from pellucid.programs.regression.bank import Bank
from pellucid.programs.regression.decisions import decision_list
from pellucid.programs.regression.goal import matches
from pellucid.programs.regression.linear_form import fits as linear_forms
from pellucid.programs.regression.rankings import rankings
from pellucid.programs.regression.scalar import scalar_function

SCALARS = {
    "constant": lambda s: 4,
    "affine": lambda s: 3 - 2 * s,
    "remainder": lambda s: s % 5,
    "remainder, shifted": lambda s: (s + 3) % 7,
    "remainder, backwards": lambda s: (2 - s) % 6,
    "quotient": lambda s: s // 3,
    "quotient, shifted": lambda s: (s + 2) // 5,
    "equal": lambda s: s == 4,
    "at least": lambda s: s >= 3,
    "at most": lambda s: s <= -2,
    "between": lambda s: -1 <= s <= 6,
    "two values": lambda s: 7 if s >= 3 else -2,
    "divisible": lambda s: s % 4 == 1,
    "absolute value": lambda s: abs(s - 2),
    "negative absolute value": lambda s: 5 - abs(s + 1),
    "cut below": lambda s: max(s, 0),
    "cut above": lambda s: min(s - 1, 4),
    "cut at both ends": lambda s: min(max(s, -3), 5),
    "sign": lambda s: (s > 0) - (s < 0),
    "sign with a dead zone": lambda s: (s > 2) - (s < -1),
}


@pytest.mark.parametrize("name", SCALARS)
def test_functions_of_one_integer(name):
    values = np.arange(-12, 15)
    target = np.array([int(SCALARS[name](int(s))) for s in values])
    shuffled = np.random.default_rng(0).permutation(len(values))
    found = scalar_function(values[shuffled], target[shuffled])
    assert found is not None
    expression = found(Variable("s"))
    assert np.array_equal(np.broadcast_to(evaluate(expression, {"s": values}), target.shape), target)
    assert not any(isinstance(part, Lookup) for part in parts(expression)) and bits(expression) < 55


def test_without_a_pattern_there_is_no_function_of_one_integer_but_a_table():
    values, target = np.arange(8), np.array([3, 1, 4, 1, 5, 9, 2, 6])
    assert scalar_function(values, target) is None
    found = scalar_function(values, target, "T")
    assert found is not None
    expression = found(Variable("s"))
    assert isinstance(expression, Lookup) and len(expression.entries) == 8
    assert np.array_equal(evaluate(expression, {"s": values}), target)


# ---- functions of linear forms, sums of functions, rankings


FORMS = {
    "carry": lambda a, b, c: a + b + c >= 3,
    "digit": lambda a, b, c: (a + b + c) % 3,
    "division": lambda a, b, c: (3 * a + b) // 5,
    "comparison": lambda a, b, c: a > b,
    "equality": lambda a, b, c: a == b + c,
    "distance": lambda a, b, c: abs(a - b),
}


@pytest.mark.parametrize("name", FORMS)
def test_functions_of_a_small_linear_form(name):
    table = table_of(FORMS[name], range(3), range(3), range(2))
    found = next(iter(linear_forms(table, "T")), None)
    assert found is not None and right(table, found)
    assert not any(isinstance(part, Lookup) for part in parts(found))


def test_a_table_at_random_is_no_formula_of_a_linear_form():
    values = np.random.default_rng(3).integers(0, 9, (5, 5))
    table = table_of(lambda a, b: values[a, b], range(5), range(5))
    found = list(linear_forms(table, "T"))
    assert found and all(right(table, e) and any(isinstance(part, Lookup) for part in parts(e)) for e in found)
    wide = table_of(lambda a, b: values[a % 5, b % 5] + a * b, range(10), range(10))
    assert list(linear_forms(wide, "T")) == []  # forms that tell all points apart have over 64 values


def test_sums_of_functions_and_what_is_no_sum():
    table = table_of(lambda a, b: abs(a) - 2 * (b % 2) + 5, range(-4, 5), range(6))
    found = additive(table, "T")
    assert found is not None and right(table, found) and not any(isinstance(part, Lookup) for part in parts(found))
    squares = table_of(lambda a, b: a * a + b, range(6), range(4))
    found = additive(squares, "T")
    assert found is not None and right(squares, found)
    assert [part.name for part in parts(found) if isinstance(part, Lookup)] == ["T0"]
    assert additive(table_of(lambda a, b: a * b, range(4), range(4)), "T") is None
    assert additive(table_of(lambda a, b: a + b, range(100), range(30)), "T") is None  # more values than are tried


def test_rankings_name_the_largest_and_the_smallest_column():
    for best, operator in ((max, "argmax"), (min, "argmin")):
        table = table_of(lambda *v, best=best: v.index(best(v)) + 2, range(3), range(3), range(3))
        found = next(rankings(table))
        assert found == call("add", Call(operator, (Variable("a"), Variable("b"), Variable("c"))), 2) and right(table, found)
    beside = table_of(lambda a, b, c, x: [a, b, c].index(max(a, b, c)), *[range(3)] * 3, range(2))
    assert right(beside, next(rankings(beside)))
    assert list(rankings(table_of(lambda a, b, c: (a + b + c) % 3, range(3), range(3), range(3)))) == []


# ---- enumerated expressions and decision lists


def bank_of(table: Table, constants=(0, 1, 2)) -> Bank:
    bank = Bank(table, constants)
    bank.grow_pairs()
    return bank


def test_a_bank_holds_one_shortest_expression_for_each_behaviour():
    table = table_of(lambda a, b: 0, range(4), range(-2, 3))
    bank = bank_of(table)
    bank.seed(table)
    assert len(np.unique(bank.values, axis=0)) == len(bank.values) == len(bank.bits) == len(bank.truth)
    for i in range(0, len(bank.bits), 3):
        expression = bank.expression(i)
        found = np.broadcast_to(evaluate(expression, table.values), bank.values[i].shape)
        assert np.array_equal(found, bank.values[i]) and bits(expression) == pytest.approx(bank.bits[i])


GOALS = {
    "product": lambda a, b: a * b,
    "maximum": lambda a, b: max(a, b),
    "smaller of a sum and a bound": lambda a, b: min(a + b, 3),
    "difference of magnitudes": lambda a, b: abs(a) - abs(b),
    "product, modulo": lambda a, b: (a * b) % 3,
    "two conditions": lambda a, b: a == b and a > 0,
}


@pytest.mark.parametrize("name", GOALS)
def test_the_last_operator_is_found_from_the_target(name):
    table = table_of(GOALS[name], range(-3, 5), range(-3, 5))
    found = [e for e in matches(bank_of(table, (0, 1, 2, 3)), table.target) if right(table, e)]
    assert found


LISTS = {
    "reset": lambda a, b: 0 if b == 2 else a + b,
    "three cases": lambda a, b: a if b == 0 else (0 if b == 1 else -a),
    "guarded product": lambda a, b: a * b if a < b else 7,
}


@pytest.mark.parametrize("name", LISTS)
def test_decision_lists(name):
    table = table_of(LISTS[name], range(-3, 4), range(3))
    found = decision_list(bank_of(table, (0, 1, 2, 7)), table.target)
    assert found is not None and right(table, found)
    assert isinstance(found, Call) and found.operator == "if"


def test_no_short_list_decides_a_table_at_random():
    values = np.random.default_rng(1).integers(0, 50, (7, 7))
    table = table_of(lambda a, b: values[a, b], range(7), range(7))
    assert decision_list(bank_of(table), table.target) is None
