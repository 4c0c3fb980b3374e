"""The small language: text means what evaluation means, simplifying changes no value, and shorter is shorter."""

from __future__ import annotations

import random
from fractions import Fraction

import numpy as np
import pytest
from tests.programs import machines as m

from pellucid.programs.language import Call, Constant, Lookup, Machine, State, Variable
from pellucid.programs.language.expression import bits, call, evaluate, linear, parts, substitute, variables
from pellucid.programs.language.machine import input_names, without_unread
from pellucid.programs.language.operators import OPERATORS
from pellucid.programs.language.simplify import simplified
from pellucid.programs.language.source import source, table_source

NAMES = ("a", "b", "c")
A, B, X = Variable("a"), Variable("b"), Variable("x")
GRID = {name: g.ravel() for name, g in zip(NAMES, np.meshgrid(*[np.arange(-4, 5)] * 3), strict=True)}
MANY = [m.expression(random.Random(seed), NAMES, 3 + seed % 2) for seed in range(120)]
MACHINES = [m.machine(random.Random(seed), 1 + seed % 2) for seed in range(40)]


def values_of(expression) -> np.ndarray:
    return np.broadcast_to(np.asarray(evaluate(expression, GRID)), GRID["a"].shape)


def values_of_text(text: str, tables: dict | None = None) -> list:
    code = compile(text, "expression", "eval")
    names = {"__builtins__": {}, "abs": abs, "int": int, "min": min, "max": max, **(tables or {})}
    return [eval(code, {**names, **dict(zip(NAMES, map(int, row), strict=True))}) for row in zip(*GRID.values(), strict=True)]


def test_text_has_the_values_of_the_expression():
    for expression in MANY:
        found = values_of_text(source(expression))
        assert found == values_of(expression).tolist()
        assert all(type(value) is int for value in found)


def test_simplifying_keeps_every_value_and_is_never_longer():
    for expression in MANY:
        shorter = simplified(expression)
        assert np.array_equal(values_of(shorter), values_of(expression))
        assert bits(shorter) <= bits(expression) and variables(shorter) <= variables(expression)


def test_a_part_is_shorter_than_the_whole():
    for expression in MANY[:40]:
        for part in parts(expression):
            assert part is expression or bits(part) < bits(expression)


@pytest.mark.parametrize(
    ("long", "short"),
    [
        (call("eq", call("sub", A, B), 0), "a == b"),
        (call("if", call("lt", A, B), 1, 0), "a < b"),
        (call("if", call("lt", A, B), 0, 1), "a >= b"),
        (call("not", call("eq", A, B)), "a != b"),
        (call("eq", call("lt", A, B), 0), "a >= b"),
        (call("eq", call("lt", A, B), 1), "a < b"),
        (call("sub", 1, call("ge", A, B)), "a < b"),
        (call("add", A, call("neg", B)), "a - b"),
    ],
)
def test_detours_are_taken_out(long, short):
    assert source(simplified(long), condition=True) == short
    assert bits(simplified(long)) < bits(long)


def test_negation_of_a_number_that_is_0_or_1_keeps_its_brackets():
    """1 - (a - b), not 1 - a - b."""
    negated = call("not", call("sub", A, B))
    assert eval(source(negated), {"a": 3, "b": 2}) == 0 and eval(source(negated), {"a": 2, "b": 2}) == 1
    assert eval(source(negated, condition=True), {"a": 3, "b": 2}) is False


def test_the_place_in_a_row_keeps_its_brackets():
    """T[(a if a < b else b) - 1], not T[a if a < b else b - 1]."""
    chosen = Lookup("T", (((1,), 5), ((2,), 6), ((3,), 7)), (call("if", call("lt", A, B), A, B),))
    assert eval(source(chosen), {"T": (5, 6, 7), "a": 1, "b": 2}) == 5
    assert eval(source(chosen), {"T": (5, 6, 7), "a": 3, "b": 2}) == 6


def test_tables_as_rows_and_as_dictionaries():
    row = m.looked_up(A)
    assert values_of_text(source(row), {"T": eval(table_source(row))}) == values_of(row).tolist()
    one = Lookup("T", (((4,), 9),), (A,))
    assert table_source(one) == "(9,)" and source(one) == "T[a - 4]"
    pairs = Lookup("T", tuple(((i, j), 10 * i + j) for i in (0, 2) for j in (1, 5)), (A, B))
    assert source(pairs) == "T[a, b]" and eval(table_source(pairs))[2, 5] == 25
    gaps = Lookup("T", (((0,), 1), ((3,), 2)), (A,), default=-1)
    assert eval(table_source(gaps)) == {0: 1, 3: 2}
    assert evaluate(gaps, {"a": np.array([0, 3, 1, 9, -5])}).tolist() == [1, 2, -1, -1, -1]


@pytest.mark.parametrize("seed", range(20))
def test_linear_forms_are_written_without_empty_terms(seed):
    *weights, constant = np.random.default_rng(seed).integers(-5, 6, 4).tolist()
    form = linear(weights, [Variable(name) for name in NAMES], constant)
    wanted = sum(w * GRID[name] for w, name in zip(weights, NAMES, strict=True)) + constant
    assert np.array_equal(values_of(form), wanted)
    text = source(form)
    assert not text.startswith("0 *") and "1 *" not in text and "+ -" not in text and "- -" not in text
    assert variables(form) == {name for w, name in zip(weights, NAMES, strict=True) if w}


def test_fractions_are_written_as_they_are_computed():
    for value in (Fraction(1, 3), Fraction(-7, 20)):
        for form in (linear([value], [A], 1), call("add", B, Constant(value)), call("mul", A, Constant(value))):
            assert np.allclose(values_of_text(source(form)), values_of(form), atol=1e-12, rtol=0)


def test_description_length_by_its_formula():
    assert bits(A) == 3 and bits(Constant(0)) == 4
    assert bits(Constant(7)) == 4 + 2 * 3 and bits(Constant(Fraction(3, 4))) == 4 + 2 * 2 + 2 * 2
    assert bits(call("add", A, B)) == 3 + 1 + 6
    assert bits(call("add", A, call("eq", A, B))) == 3 + 1 + 3 + (3 + 1 + 6) + 4  # a truth value used as a number
    assert bits(Lookup("T", (((0,), 1), ((1,), 0)), (A,))) == 3 + 2 * 6 + 3
    machine = Machine(("x",), (State("s", 3, X),), (A,))
    assert machine.bits == (3 + 4 + 1 + 2) + 3


def test_larger_constants_and_more_operators_cost_more():
    costs = [bits(Constant(c)) for c in range(40)]
    assert costs == sorted(costs) and len(set(costs)) == 40 and bits(Constant(-5)) == bits(Constant(5))
    assert all(operator.bits >= 1 for operator in OPERATORS.values())


def test_substitution_is_simultaneous():
    swapped = substitute(call("sub", A, call("mul", 2, B)), {"a": B, "b": A})
    assert source(swapped) == "b - 2 * a"


# ---- machines


def naive(machine: Machine, xs: list) -> list:
    """Step one sequence through the expressions, number by number."""
    state, ys = {s.name: s.initial for s in machine.states}, []
    for x in xs:
        values = {**state, **dict(zip(machine.inputs, x, strict=True))}
        after = {s.name: int(evaluate(s.update, values)) for s in machine.states}
        seen = {**values, **after} if machine.late else values
        ys.append([int(evaluate(output, seen)) for output in machine.outputs])
        state = after
    return ys


@pytest.mark.parametrize("machine", MACHINES)
def test_a_batch_runs_as_each_sequence_alone(machine):
    xs = np.random.default_rng(0).integers(-5, 6, (4, 6, len(machine.inputs)))
    assert machine.run(xs).tolist() == [naive(machine, rows) for rows in xs.tolist()]


@pytest.mark.parametrize("machine", MACHINES)
def test_states_that_no_output_reads_are_left_out_without_a_change(machine):
    xs = np.random.default_rng(1).integers(-5, 6, (4, 6, len(machine.inputs)))
    smaller = without_unread(machine)
    assert np.array_equal(smaller.run(xs), machine.run(xs)) and smaller.bits <= machine.bits
    assert without_unread(smaller) == smaller


def test_entries_of_tables_read_by_the_same_arguments_count_once():
    keys = tuple((s, x) for s in range(3) for x in range(2))
    arguments = (Variable("s"), X)
    after, out = (Lookup(name, tuple((key, 0) for key in keys), arguments) for name in ("NEXT", "OUTPUT"))
    machine = Machine(("x",), (State("s", 0, after),), (out,))
    assert machine.n_entries == 6 and [t.name for t in machine.tables] == ["NEXT", "OUTPUT"]
    other = Lookup("OUTPUT", (((0,), 0), ((1,), 1)), (X,))
    assert Machine(("x",), (State("s", 0, after),), (other,)).n_entries == 8


def test_no_steps_and_names_of_inputs():
    machine = Machine(("x",), (), (X, Constant(2)))
    assert machine.run(np.zeros((3, 0, 1), np.int64)).shape == (3, 0, 2)
    assert [input_names(n) for n in (1, 2, 3)] == [("x",), ("p", "q"), ("x0", "x1", "x2")]


def test_fractions_make_a_machine_real_valued():
    half = Machine(("x",), (State("s", Fraction(1, 2), call("add", Variable("s"), X)),), (call("mul", 2, Variable("s")),))
    ys = half.run(np.array([[[1], [2], [3]]]))
    assert ys.dtype == float and ys.ravel().tolist() == [1, 3, 7]


def test_every_operator_is_tried_by_these_tests():
    assert {part.operator for e in MANY for part in parts(e) if isinstance(part, Call)} == m.USED == {*OPERATORS} - {"div"}
    assert source(Call("div", (A, call("add", A, B)))) == "a / (a + b)"
