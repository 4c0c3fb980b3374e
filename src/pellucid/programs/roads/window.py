"""Road 3: outputs that depend on the last few inputs only."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from pellucid.programs.language.expression import Expression, Variable, variables
from pellucid.programs.language.machine import Machine, State, input_names, without_unread
from pellucid.programs.regression.fit import fit
from pellucid.programs.regression.table import TOLERATED, collect
from pellucid.programs.roads.context import Context

LONGEST = 8
PROBES = 400
MOST_COLUMNS = 9


def window_road(context: Context) -> Iterator[Machine]:
    """Yield a machine that remembers the last k inputs, k found by changing inputs that lie further back."""
    lags = relevant_lags(context)
    if lags is None or not 0 < len(lags) <= MOST_COLUMNS:
        return
    depth = max(lag for lag, _ in lags)
    names = input_names(context.oracle.domain.width)
    columns = _columns(context.xs, lags)[:, depth:]
    column_names = tuple(_name(names, lag, i) for lag, i in lags)
    fits = []
    for o in range(context.ys.shape[2]):
        flat = columns.reshape(-1, len(lags))
        found = fit(collect(column_names, flat, context.ys[:, depth:, o].ravel()), context.constants, f"OUTPUT_{o + 1}")
        if found is None:
            return
        fits.append(found.expression)
    yield from _with_padding(context, tuple(fits), depth)


def relevant_lags(context: Context) -> list[tuple[int, int]] | None:
    """Return the (lag, component) pairs that the output at the last step depends on; None if any of it is beyond 8 steps."""
    oracle, generator = context.oracle, np.random.default_rng(5)
    domain, length = oracle.domain, oracle.domain.length
    base = context.xs[:PROBES]
    answer = oracle.rounded(base)[:, -1]
    depth = min(LONGEST, length - 1)
    if depth < length - 1:
        changed = base.copy()
        early = changed[:, : length - depth - 1]
        changed[:, : length - depth - 1] = generator.integers(domain.low, domain.high + 1, early.shape)
        if (oracle.rounded(changed)[:, -1] != answer).any(1).mean() > TOLERATED:
            return None
    found = []
    for lag in range(depth + 1):
        for i in range(domain.width):
            changed = base.copy()
            changed[:, length - 1 - lag, i] = generator.integers(domain.low, domain.high + 1, len(base))
            if (oracle.rounded(changed)[:, -1] != answer).any(1).mean() > TOLERATED:
                found.append((lag, i))
    return found


def _columns(xs: np.ndarray, lags: list[tuple[int, int]], padding: int = 0) -> np.ndarray:
    n, steps, _ = xs.shape
    result = np.full((n, steps, len(lags)), padding, np.int64)
    for j, (lag, i) in enumerate(lags):
        result[:, lag:, j] = xs[:, : steps - lag, i]
    return result


def _name(names: tuple[str, ...], lag: int, i: int) -> str:
    return names[i] if lag == 0 else f"{names[i]}_before{lag if lag > 1 else ''}"


def _with_padding(context: Context, outputs: tuple[Expression, ...], depth: int) -> Iterator[Machine]:
    """Yield the machine with the value for inputs before the start that makes the first outputs right most often."""
    domain = context.oracle.domain
    near = dict.fromkeys([0, domain.low, domain.high, domain.low - 1, domain.high + 1])
    options = [*near, *(range(domain.low, domain.high + 1) if domain.high - domain.low < 300 else ())]
    machines = [remembering(input_names(domain.width), outputs, depth, padding) for padding in dict.fromkeys(options)]
    head, wanted = context.xs[:300, :depth], context.ys[:300, :depth]
    if depth:
        machines.sort(key=lambda machine: float((machine.run(head) != wanted).mean()))
    yield machines[0]


def remembering(names: tuple[str, ...], outputs: tuple[Expression, ...], depth: int, padding: int) -> Machine:
    """Return the machine that keeps the last `depth` inputs, `padding` before the start, and gives the outputs."""
    states = []
    for lag in range(1, depth + 1):
        for i, name in enumerate(names):
            note = f"{name} {lag} step{'s' if lag > 1 else ''} ago"
            states.append(State(_name(names, lag, i), padding, Variable(_name(names, lag - 1, i)), note))
    machine = Machine(names, tuple(states), outputs, method=f"window of the last {depth + 1} inputs")
    assert set().union(*(variables(o) for o in outputs)) <= {*names, *(s.name for s in states)}
    return without_unread(machine)
