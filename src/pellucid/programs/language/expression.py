"""Expressions over named integers: evaluated on arrays, measured in bits, written as Python."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np

from pellucid.programs.language.operators import OPERATORS, Operator

Values = Mapping[str, Any]
"""Name -> integer array; all of one shape."""


@dataclass(frozen=True)
class Variable:
    """A named number: an input or a state."""

    name: str


@dataclass(frozen=True)
class Constant:
    """An integer, or a fraction p/q."""

    value: int | Fraction


@dataclass(frozen=True)
class Call:
    """An operator of `operators.OPERATORS` on expressions."""

    operator: str
    arguments: tuple[Expression, ...]


@dataclass(frozen=True)
class Lookup:
    """An entry of a literal table, by the values of its arguments; a key that is missing gives `default`."""

    name: str
    entries: tuple[tuple[tuple[int, ...], int], ...]
    arguments: tuple[Expression, ...]
    default: int = 0


Expression = Variable | Constant | Call | Lookup

BITS_OF_NODE = 3.0
BITS_OF_ENTRY = 6.0
BITS_OF_CAST = 4.0
"""What it costs that a truth value is used as a number inside an expression: such formulas are hard to read."""


def evaluate(expression: Expression, values: Values) -> Any:
    """Return the value at each point; constants alone give a scalar. Comparisons give 0 or 1."""
    if isinstance(expression, Variable):
        return values[expression.name]
    if isinstance(expression, Constant):
        value = expression.value
        return np.int64(value) if isinstance(value, int) else float(value)
    arguments = [evaluate(argument, values) for argument in expression.arguments]
    if isinstance(expression, Call):
        return OPERATORS[expression.operator].compute(*arguments)
    return _look_up(expression, np.broadcast_arrays(*arguments))


def _look_up(lookup: Lookup, arguments: Sequence[np.ndarray]) -> np.ndarray:
    keys = np.array([key for key, _ in lookup.entries], dtype=np.int64)
    results = np.array([value for _, value in lookup.entries], dtype=np.int64)
    low, size = keys.min(0), np.ptp(keys, axis=0) + 1
    dense = np.full(tuple(size), lookup.default, dtype=np.int64)
    dense[tuple((keys - low).T)] = results
    found = [np.asarray(argument) - start for argument, start in zip(arguments, low, strict=True)]
    inside = np.logical_and.reduce([(part >= 0) & (part < n) for part, n in zip(found, size, strict=True)])
    clipped = tuple(np.clip(part, 0, n - 1).astype(np.int64) for part, n in zip(found, size, strict=True))
    return np.where(inside, dense[clipped], lookup.default)


def bits(expression: Expression) -> float:
    """Return the description length: 3 bits a node, more for operators that explain less and for large constants.

    A constant c = p/q costs 1 + 2 log2(1 + |p|) + 2 log2 q bits beyond its node, a table entry 6.
    """
    if isinstance(expression, Variable):
        return BITS_OF_NODE
    if isinstance(expression, Constant):
        value = Fraction(expression.value)
        return BITS_OF_NODE + 1 + 2 * math.log2(1 + abs(value.numerator)) + 2 * math.log2(value.denominator)
    inner = sum(bits(argument) for argument in expression.arguments)
    if isinstance(expression, Call):
        operator = OPERATORS[expression.operator]
        return BITS_OF_NODE + operator.bits + inner + BITS_OF_CAST * _casts(operator, expression.arguments)
    return BITS_OF_NODE + BITS_OF_ENTRY * len(expression.entries) + inner


def _casts(operator: Operator, arguments: tuple[Expression, ...]) -> int:
    truths = [i for i, a in enumerate(arguments) if isinstance(a, Call) and OPERATORS[a.operator].truth]
    return sum(i not in operator.conditions for i in truths)


def parts(expression: Expression) -> Iterator[Expression]:
    """Yield the expression and everything inside it."""
    yield expression
    if isinstance(expression, (Call, Lookup)):
        for argument in expression.arguments:
            yield from parts(argument)


def variables(expression: Expression) -> set[str]:
    """Return the names that the expression reads."""
    return {part.name for part in parts(expression) if isinstance(part, Variable)}


def substitute(expression: Expression, replacements: Mapping[str, Expression]) -> Expression:
    """Return the expression with variables replaced by expressions."""
    if isinstance(expression, Variable):
        return replacements.get(expression.name, expression)
    if isinstance(expression, Constant):
        return expression
    arguments = tuple(substitute(argument, replacements) for argument in expression.arguments)
    if isinstance(expression, Call):
        return Call(expression.operator, arguments)
    return Lookup(expression.name, expression.entries, arguments, expression.default)


def call(operator: str, *arguments: Expression | int) -> Expression:
    """Return an operator on expressions or integers."""
    return Call(operator, tuple(Constant(a) if isinstance(a, int) else a for a in arguments))


def linear(coefficients: Sequence[int | Fraction], terms: Sequence[Expression], constant: int | Fraction = 0) -> Expression:
    """Return the sum of coefficient * term, plus a constant, in the shortest way: positive terms first."""
    pairs: list[tuple[int | Fraction, Expression]] = [(c, term) for c, term in zip(coefficients, terms, strict=True) if c != 0]
    pairs.sort(key=lambda pair: pair[0] < 0)
    first_constant = not pairs or (constant > 0 and pairs[0][0] < 0)  # 1 - x reads better than -x + 1
    total: Expression | None = Constant(_plain(constant)) if first_constant else None
    for c, term in pairs:
        scaled = term if abs(c) == 1 else call("mul", Constant(_plain(abs(c))), term)
        if total is not None:
            total = call("add" if c > 0 else "sub", total, scaled)
        else:
            total = scaled if c > 0 else (call("neg", term) if c == -1 else call("mul", Constant(_plain(c)), term))
    assert total is not None
    if constant and not first_constant:
        total = call("add" if constant > 0 else "sub", total, Constant(_plain(abs(constant))))
    return total


def _plain(value: Any) -> int | Fraction:
    return int(value) if value == int(value) else Fraction(value)
