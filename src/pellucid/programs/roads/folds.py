"""Road 5: running sums, counts, extremes and digits of the inputs as states, and a formula on top."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from pellucid.programs.language.expression import Constant, Expression, Variable, call, linear
from pellucid.programs.language.machine import Machine, State, input_names, without_unread
from pellucid.programs.regression.fit import fit
from pellucid.programs.regression.table import TOLERATED, collect, is_function_of
from pellucid.programs.roads.context import Context

MOST_TALLIES = 10
MOST_TRIED = 6
ROWS = 6000


@dataclass(frozen=True)
class Fold:
    """One running number, with the helpers it needs; the last state is the number itself."""

    states: tuple[State, ...]

    @property
    def name(self) -> str:
        """Name of the running number."""
        return self.states[-1].name


def folds(width: int, low: int, high: int) -> tuple[list[Fold], list[Fold]]:
    """Return single running numbers of the inputs, and the tallies of every input value where there are few."""
    singles: list[Fold] = [_fold("t", 0, call("add", Variable("t"), 1), "steps so far")]
    for x in input_names(width):
        singles += _of_one(x, Variable(x), low, high)
    if width == 2:
        p, q = (Variable(name) for name in input_names(2))
        for name, u in (("sum", call("add", p, q)), ("difference", call("sub", p, q)), ("product", call("mul", p, q))):
            singles.append(_fold(f"total_{name}", 0, call("add", Variable(f"total_{name}"), u), f"sum of the {name}s so far"))
    tallies = []
    if width == 1 and high - low < MOST_TALLIES:
        for v in range(low, high + 1):
            name = f"count_{v}" if v >= 0 else f"count_minus{-v}"
            update = call("add", Variable(name), call("eq", Variable("x"), v))
            tallies.append(_fold(name, 0, update, f"how often {v} has come"))
    return singles, tallies


def _fold(name: str, initial: int, update: Expression, note: str, *helpers: State) -> Fold:
    return Fold((*helpers, State(name, initial, update, note)))


def _of_one(x: str, u: Expression, low: int, high: int) -> list[Fold]:
    base = high - low + 1
    total, largest, smallest = Variable(f"total_{x}"), Variable(f"largest_{x}"), Variable(f"smallest_{x}")
    result = [
        _fold(total.name, 0, call("add", total, u), f"sum of {x} so far"),
        _fold(f"total_abs_{x}", 0, call("add", Variable(f"total_abs_{x}"), call("abs", u)), f"sum of |{x}| so far"),
        _fold(largest.name, low, call("max", largest, u), f"largest {x} so far"),
        _fold(smallest.name, high, call("min", smallest, u), f"smallest {x} so far"),
        _fold(f"before_{x}", 0, u, f"last {x}"),
        *_with_time_and_memory(x, u),
    ]
    if low < 0:
        signs = call("sub", call("lt", Constant(0), u), call("lt", u, 0))
        result.append(_fold(f"signs_{x}", 0, call("add", Variable(f"signs_{x}"), signs), f"sum of the signs of {x}"))
    else:
        result += _balances(x, u, low, high)
        forward, backward, weight = Variable(f"digits_{x}"), Variable(f"reversed_{x}"), Variable(f"weight_{x}")
        power = State(weight.name, 1, call("mul", weight, base), f"{base} to the number of steps so far")
        read = linear([base, 1], [forward, u])
        result.append(_fold(forward.name, 0, read, f"the number whose base-{base} digits the inputs are"))
        back = linear([1, 1], [backward, call("mul", weight, u)])
        result.append(_fold(backward.name, 0, back, f"the same digits read backwards, in base {base}", power))
    return result


def _with_time_and_memory(x: str, u: Expression) -> list[Fold]:
    """Sums whose step depends on the time or on the input before."""
    sign = State(f"sign_{x}", 1, call("neg", Variable(f"sign_{x}")), "1 and -1 in turn")
    turned = f"alternating_{x}"
    result = [
        _fold(
            turned,
            0,
            call("add", Variable(turned), call("mul", Variable(sign.name), u)),
            f"sum of {x} with signs in turn",
            sign,
        )
    ]
    last = State(f"last_{x}", 0, u, f"{x} of the step before, 0 at the start")
    for name, counted in (("rises", call("lt", Variable(last.name), u)), ("repeats", call("eq", Variable(last.name), u))):
        count = f"{name}_{x}"
        result.append(_fold(count, 0, call("add", Variable(count), counted), f"how many {name} of {x} so far", last))
    return result


def _balances(x: str, u: Expression, low: int, high: int) -> list[Fold]:
    """A sum of inputs measured from the middle of their range, with its extremes so far."""
    name = f"balance_{x}"
    even = (low + high) % 2 == 0
    step = linear([1 if even else 2], [u], -((low + high) // 2 if even else low + high))
    state = State(name, 0, call("add", Variable(name), step), f"sum of {x}, measured from the middle of its range")
    after = call("add", Variable(name), step)
    lowest, highest = Variable(f"lowest_{name}"), Variable(f"highest_{name}")
    return [
        Fold((state,)),
        _fold(lowest.name, 0, call("min", lowest, after), f"smallest {name} so far", state),
        _fold(highest.name, 0, call("max", highest, after), f"largest {name} so far", state),
    ]


def folds_road(context: Context) -> Iterator[Machine]:
    """Yield machines on one, two or three running numbers (or all tallies) that determine the output."""
    domain = context.oracle.domain
    if context.ys.shape[2] != 1:
        return
    singles, tallies = folds(domain.width, domain.low, domain.high)
    n = max(50, ROWS // domain.length)
    xs, y = context.xs[:n], context.ys[:n, :, 0].ravel()
    values = {fold.name: _values(fold, xs) for fold in [*singles, *tallies]}
    inputs = xs.reshape(-1, domain.width)
    tried: list[tuple[float, int, tuple[Fold, ...]]] = []
    for group in _groups(singles, tallies):
        columns = np.concatenate([np.stack([values[fold.name] for fold in group], 1), inputs], 1)
        if is_function_of(columns, y) <= TOLERATED:
            distinct = len(np.unique(columns, axis=0)) / len(y)
            tried.append((len(group) + 2 * distinct, len(group), group))
        if context.late or len(tried) > 40:
            break
    ordered = [group for _, _, group in sorted(tried, key=lambda entry: entry[:2])]
    for effort, groups in ((1, ordered), (3, ordered[:MOST_TRIED])):
        for group in groups:
            machine = _machine(context, group, values, y, inputs, effort)
            if machine is not None:
                yield machine
                return
            if context.late:
                return


def _groups(singles: list[Fold], tallies: list[Fold]) -> Iterator[tuple[Fold, ...]]:
    for size in (1, 2):
        yield from combinations(singles, size)
    if tallies:
        yield tuple(tallies)
    yield from combinations(singles[:14], 3)


def _values(fold: Fold, xs: np.ndarray) -> np.ndarray:
    machine = Machine(input_names(xs.shape[2]), fold.states, (Variable(fold.name),), late=True)
    return machine.run(xs)[:, :, 0].ravel()


def _machine(
    context: Context, group: tuple[Fold, ...], values: dict[str, np.ndarray], y: np.ndarray, inputs: np.ndarray, effort: int
) -> Machine | None:
    names = (*(fold.name for fold in group), *input_names(inputs.shape[1]))
    columns = np.concatenate([np.stack([values[fold.name] for fold in group], 1), inputs], 1)
    found = fit(collect(names, columns, y), context.constants, "OUTPUT", effort)
    if found is None or not found.is_formula:
        return None
    states = tuple({state.name: state for fold in group for state in fold.states}.values())
    method = "running folds: " + ", ".join(fold.name for fold in group)
    return without_unread(Machine(input_names(inputs.shape[1]), states, (found.expression,), late=True, method=method))
