"""Machines: named states with an update each, and outputs; what a recovered program is."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from jaxtyping import Int, Num

from pellucid.programs.language.expression import Expression, Lookup, Variable, bits, evaluate, parts, variables


@dataclass(frozen=True)
class State:
    """One number that is carried from step to step."""

    name: str
    initial: int | Fraction
    update: Expression
    """Next value, from the inputs and the old values of the states."""
    note: str = ""
    """What the state means, for the reader."""


@dataclass(frozen=True)
class Machine:
    """A program with state: reads the inputs of a step, gives outputs, updates its states.

    Outputs read the old states, or with `late` the updated ones.
    """

    inputs: tuple[str, ...]
    states: tuple[State, ...]
    outputs: tuple[Expression, ...]
    late: bool = False
    method: str = ""
    """How it was found: road, representation of the states."""

    @property
    def bits(self) -> float:
        """Description length: all updates and outputs, 4 bits a state, and 1 + log2(1 + |value|) for a start value."""
        states = sum(bits(s.update) + 4 + (1 + np.log2(1 + abs(float(s.initial))) if s.initial else 0) for s in self.states)
        return float(states + sum(bits(output) for output in self.outputs))

    @property
    def tables(self) -> tuple[Lookup, ...]:
        """Distinct literal tables, in order."""
        everything = [*(state.update for state in self.states), *self.outputs]
        found = [part for expression in everything for part in parts(expression) if isinstance(part, Lookup)]
        return tuple({lookup.name: lookup for lookup in found}.values())

    @property
    def n_entries(self) -> int:
        """Entries of all tables; tables that are read by the same arguments share theirs, as (next, output) pairs do."""
        shared: dict[tuple[Expression, ...], set[tuple[int, ...]]] = {}
        for table in self.tables:
            shared.setdefault(table.arguments, set()).update(key for key, _ in table.entries)
        return sum(len(keys) for keys in shared.values())

    def start(self, n: int) -> dict[str, np.ndarray]:
        """Return the states before the first input, once for each of n sequences."""
        whole = all(isinstance(state.initial, int) for state in self.states)
        return {s.name: np.full(n, s.initial if whole else float(s.initial), np.int64 if whole else float) for s in self.states}

    def step(
        self, state: dict[str, np.ndarray], x: Int[np.ndarray, "n i"]
    ) -> tuple[dict[str, np.ndarray], Num[np.ndarray, "n o"]]:
        """Read one input for each sequence; return the next states and the outputs."""
        values = {**state, **{name: x[:, i] for i, name in enumerate(self.inputs)}}
        shape = (len(x),)
        after = {s.name: np.broadcast_to(evaluate(s.update, values), shape) for s in self.states}
        seen = {**values, **after} if self.late else values
        outputs = [np.broadcast_to(evaluate(output, seen), shape) for output in self.outputs]
        return after, np.stack(outputs, 1)

    def run(self, xs: Int[np.ndarray, "n t i"]) -> Num[np.ndarray, "n t o"]:
        """Return the outputs of every step of n sequences; 64-bit integers, so not for states that grow beyond them."""
        state, rows = self.start(len(xs)), []
        for t in range(xs.shape[1]):
            state, y = self.step(state, xs[:, t])
            rows.append(y)
        return np.stack(rows, 1) if rows else np.zeros((len(xs), 0, len(self.outputs)), np.int64)


def without_unread(machine: Machine) -> Machine:
    """Return the machine without the states that no output depends on."""
    needed = set().union(*(variables(output) for output in machine.outputs)) if machine.outputs else set()
    while True:
        more = set().union(needed, *(variables(s.update) for s in machine.states if s.name in needed))
        if more == needed:
            break
        needed = more
    kept = tuple(state for state in machine.states if state.name in needed)
    return Machine(machine.inputs, kept, machine.outputs, machine.late, machine.method)


def input_names(width: int) -> tuple[str, ...]:
    """Return x for one input a step; p, q for two; x0, x1, ... for more."""
    return {1: ("x",), 2: ("p", "q")}.get(width) or tuple(f"x{i}" for i in range(width))


def names_to_variables(names: tuple[str, ...]) -> list[Expression]:
    """Return a variable for each name."""
    return [Variable(name) for name in names]
