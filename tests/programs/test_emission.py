"""Machines as Python: the same outputs, nothing imported, the same text every time, whatever names come in."""

from __future__ import annotations

import ast
import random
from dataclasses import replace
from fractions import Fraction
from xml.etree import ElementTree

import numpy as np
import pytest
from tests.programs import machines as m

from pellucid.programs.emission import automaton_svg, automaton_to_dot, program_source
from pellucid.programs.emission.names import named
from pellucid.programs.language import Lookup, Machine, State, Variable
from pellucid.programs.language.expression import call
from pellucid.programs.proof.runner import refuse
from pellucid.programs.reference import as_lists
from pellucid.programs.states import Automaton

MACHINES = [m.machine(random.Random(1000 + seed), 1 + seed % 2) for seed in range(60)]
X = Variable("x")


def outputs_of(text: str, xs: np.ndarray) -> list:
    import torch

    program = m.program_of(text)
    return [[list(y) if isinstance(y, tuple) else [y] for y in program(rows)] for rows in as_lists(torch.from_numpy(xs))]


@pytest.mark.parametrize("machine", MACHINES)
def test_emitted_code_does_what_the_machine_does_under_its_own_and_under_readable_names(machine):
    xs = np.random.default_rng(2).integers(-6, 7, (5, 8, len(machine.inputs)))
    for shown in (machine, named(machine)):
        text = program_source(shown, ["Recovered."])
        assert outputs_of(text, xs) == machine.run(xs).tolist()
        refuse(text)
        assert not any(isinstance(node, (ast.Import, ast.ImportFrom)) for node in ast.walk(ast.parse(text)))
        assert text == program_source(shown, ["Recovered."])
    assert named(machine) == named(machine) and named(machine).bits == machine.bits


def test_states_that_read_each_other_are_updated_at_once():
    fibonacci = Machine(
        ("x",), (State("a", 0, Variable("b")), State("b", 1, call("add", Variable("a"), Variable("b")))), (Variable("a"),)
    )
    text = program_source(fibonacci, [])
    assert "a, b = b, a + b" in text
    assert m.program_of(text)([0] * 8) == [0, 1, 1, 2, 3, 5, 8, 13]


def test_integers_of_any_size_stay_exact():
    doubling = Machine(("x",), (State("s", 1, call("mul", 2, Variable("s"))),), (Variable("s"),))
    assert m.program_of(program_source(doubling, []))([0] * 201)[200] == 2**200


def test_fractions_at_the_start_and_no_steps_at_all():
    half = Machine(("x",), (State("s", Fraction(1, 2), call("add", Variable("s"), X)),), (call("mul", 2, Variable("s")),))
    program = m.program_of(program_source(half, []))
    assert program([1, 2]) == [1, 3] and program([]) == []


HOSTILE = ["xs", "ys", "program", "min", "int", "abs", "x", "NEXT", "lambda", "None", "sum"]


@pytest.mark.parametrize("name", HOSTILE)
def test_states_with_names_that_mean_something_else_are_renamed(name):
    """A running sum in a state of that name, with a table and a built-in beside it."""
    state, table = Variable(name), Lookup("NEXT_1", (((0,), 0), ((1,), 4)), (Variable("q"),))
    hostile = Machine(
        ("p", "q"),
        (State(name, 0, call("add", state, call("max", Variable("p"), table))),),
        (call("abs", call("if", call("lt", state, 3), state, call("min", state, 50))),),
    )
    twice = replace(hostile, inputs=("p", "q"))
    xs = np.random.default_rng(0).integers(0, 2, (4, 9, 2))
    assert outputs_of(program_source(named(twice), []), xs) == hostile.run(xs).tolist()


def test_two_states_never_share_a_name():
    states = tuple(State(f"s{i}", 0, X, "the last input") for i in range(1, 5))
    shown = named(Machine(("x",), states, tuple(Variable(s.name) for s in states)))
    assert len({s.name for s in shown.states}) == 4 and "x" not in {s.name for s in shown.states}


@pytest.mark.parametrize("words", ['ends in """ and more', "back\\slash \\", '"', "two\nlines", "'''", "\\N{DASH}", '\\"""'])
def test_what_is_written_about_a_program_cannot_become_code(words):
    counter = Machine(("x",), (State("s", 0, call("add", Variable("s"), X), words),), (Variable("s"),))
    text = program_source(counter, [words, f"{words} import os {words}"])
    refuse(text)
    program = m.program_of(text)
    assert program([1, 2, 3]) == [0, 1, 3]
    assert "import os" in program.__doc__


def test_names_say_what_a_state_holds():
    lags = Machine(
        ("x",),
        (State("s1", 0, X), State("s2", 0, Variable("s1")), State("s3", 0, call("add", Variable("s3"), X))),
        (call("add", Variable("s2"), Variable("s3")),),
    )
    shown = named(lags)
    assert [s.name for s in shown.states] == ["x_before", "x_before2", "total"]
    assert [s.note for s in shown.states] == ["x one step ago", "x 2 steps ago", "running sum"]
    assert "x_before = 0  # x one step ago" in program_source(shown, [])


def test_long_tables_are_wrapped_and_lines_stay_readable():
    table = Lookup("T", tuple(((k, j), (7 * k + j) % 5) for k in range(12) for j in range(9)), (Variable("s"), X))
    machine = Machine(("x",), (State("s", 0, call("mod", call("add", Variable("s"), X), 12)),), (table,))
    text = program_source(machine, ["Word " * 60])
    assert max(map(len, text.splitlines())) <= 110
    xs = np.random.default_rng(0).integers(0, 9, (3, 20, 1))
    assert outputs_of(text, xs) == machine.run(xs).tolist()


def carry() -> Automaton:
    symbols = np.array([[p, q] for p in (0, 1) for q in (0, 1)])
    total = symbols.sum(1) + np.arange(2)[:, None]
    return Automaton(symbols, total // 2, (total % 2)[:, :, None], np.ones((2, 4), np.int64))


def test_drawings_hold_every_transition_once():
    svg, dot = automaton_svg(carry()), automaton_to_dot(carry())
    labels = [text.text for text in ElementTree.fromstring(svg).iter("{http://www.w3.org/2000/svg}text")]
    assert sorted(labels) == sorted(["0", "1", "0,0 / 0; 0,1 1,0 / 1", "1,1 / 0", "0,0 / 1", "0,1 1,0 / 0; 1,1 / 1"])
    assert dot.count("->") == 5 and '0 -> 1 [label="1,1 / 0"];' in dot


def test_an_automaton_too_large_to_draw_says_so():
    n = 65
    after = (np.arange(n)[:, None] + 1) % n
    large = Automaton(np.zeros((1, 1), np.int64), after, np.zeros((n, 1, 1), np.int64), np.ones((n, 1), np.int64))
    assert "65 states: too many to draw" in automaton_svg(large) and automaton_to_dot(large).count("->") == n + 1
