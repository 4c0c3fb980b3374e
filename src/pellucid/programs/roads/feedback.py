"""Road 4: the last output is the state."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from pellucid.programs.language.expression import Variable
from pellucid.programs.language.machine import Machine, State, input_names
from pellucid.programs.regression.fit import fit
from pellucid.programs.regression.table import TOLERATED, collect
from pellucid.programs.roads.context import Context


def feedback_road(context: Context) -> Iterator[Machine]:
    """Yield the machine with y_t = F(y_{t-1}, x_t)."""
    machine = _machine(context, memory=False)
    if machine is not None:
        yield machine


def feedback_memory_road(context: Context) -> Iterator[Machine]:
    """Yield the machine with y_t = F(y_{t-1}, x_t, x_{t-1})."""
    machine = _machine(context, memory=True)
    if machine is not None:
        yield machine


def _machine(context: Context, memory: bool) -> Machine | None:
    xs, ys = context.xs, context.ys
    inputs = input_names(context.oracle.domain.width)
    n_out = ys.shape[2]
    names = ("y",) if n_out == 1 else tuple(f"y{o + 1}" for o in range(n_out))
    before = tuple(f"{name}_before" for name in inputs) if memory else ()
    parts = [ys[:, 1:-1], xs[:, 2:], *([xs[:, 1:-1]] if memory else [])]
    columns = np.concatenate(parts, 2).reshape(-1, n_out + len(inputs) + len(before))
    updates = []
    for o in range(n_out):
        table = collect((*names, *inputs, *before), columns, ys[:, 2:, o].ravel())
        if table.contradicted > TOLERATED:
            return None
        found = fit(table, context.constants, f"NEXT_{o + 1}")
        if found is None or not found.is_formula:
            return None
        updates.append(found.expression)
    memories = tuple(State(name, 0, Variable(x), f"{x} one step ago") for name, x in zip(before, inputs, strict=False))
    outputs = tuple(Variable(name) for name in names)

    def build(start: int) -> Machine:
        states = tuple(State(name, start, update, "the last output") for name, update in zip(names, updates, strict=True))
        return Machine(inputs, (*states, *memories), outputs, late=True, method="the last output as the state")

    return min(map(build, _starts(context)), key=lambda machine: _misses(machine, context))


def _starts(context: Context) -> list[int]:
    domain, low, high = context.oracle.domain, int(context.ys.min()), int(context.ys.max())
    return list(dict.fromkeys([0, domain.low, domain.high, low, high, low - 1, high + 1, 1, -1]))


def _misses(machine: Machine, context: Context) -> float:
    return float((machine.run(context.xs[:300, :2]) != context.ys[:300, :2]).mean())
