"""The operators of recovered programs: what each computes, how it is written, what it costs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

TERNARY, OR, AND, NOT, COMPARISON, XOR, SUM, PRODUCT, SIGN, ATOM = range(10)
"""How tightly a piece of Python text binds, loosest first."""


@dataclass(frozen=True)
class Operator:
    """One operator on integers; truth values are 0 and 1."""

    compute: Callable[..., Any]
    """From arrays to an array."""
    text: str
    """Python text with {0}, {1}, ... for the arguments, or {all} for all of them."""
    binding: int = ATOM
    """How tightly the text binds."""
    inside: tuple[int, ...] = ()
    """How tightly each argument must bind; empty: any text will do (inside brackets)."""
    bits: float = 1.0
    """Description length beyond the node."""
    truth: bool = False
    """The text is a condition: written int(...) where a number is wanted."""
    conditions: tuple[int, ...] = ()
    """Arguments that are read as conditions."""


def _truth(function: Callable[..., Any]) -> Callable[..., Any]:
    return lambda *arguments: np.asarray(function(*arguments)).astype(np.int64)


def _argument_of(best: Callable[..., Any]) -> Callable[..., Any]:
    return lambda *arguments: best(np.stack(np.broadcast_arrays(*arguments)), axis=0)


def _ratio(a: Any, b: Any) -> Any:
    return a / b


OPERATORS: dict[str, Operator] = {
    "add": Operator(np.add, "{0} + {1}", SUM, (SUM, PRODUCT)),
    "sub": Operator(np.subtract, "{0} - {1}", SUM, (SUM, PRODUCT)),
    "mul": Operator(np.multiply, "{0} * {1}", PRODUCT, (PRODUCT, SIGN)),
    "neg": Operator(np.negative, "-{0}", SIGN, (SIGN,)),
    "div": Operator(_ratio, "{0} / {1}", PRODUCT, (PRODUCT, SIGN)),
    "floordiv": Operator(np.floor_divide, "{0} // {1}", PRODUCT, (PRODUCT, SIGN)),
    "mod": Operator(np.mod, "{0} % {1}", PRODUCT, (PRODUCT, SIGN)),
    "abs": Operator(np.abs, "abs({0})"),
    "min": Operator(np.minimum, "min({0}, {1})"),
    "max": Operator(np.maximum, "max({0}, {1})"),
    "eq": Operator(_truth(np.equal), "{0} == {1}", COMPARISON, (XOR, XOR), truth=True),
    "ne": Operator(_truth(np.not_equal), "{0} != {1}", COMPARISON, (XOR, XOR), truth=True),
    "lt": Operator(_truth(np.less), "{0} < {1}", COMPARISON, (XOR, XOR), truth=True),
    "le": Operator(_truth(np.less_equal), "{0} <= {1}", COMPARISON, (XOR, XOR), truth=True),
    "ge": Operator(_truth(np.greater_equal), "{0} >= {1}", COMPARISON, (XOR, XOR), truth=True),
    "and": Operator(_truth(np.logical_and), "{0} and {1}", AND, (AND, NOT), truth=True, conditions=(0, 1)),
    "or": Operator(_truth(np.logical_or), "{0} or {1}", OR, (OR, AND), truth=True, conditions=(0, 1)),
    "not": Operator(_truth(np.logical_not), "not {0}", NOT, (NOT,), truth=True, conditions=(0,)),
    "if": Operator(lambda c, a, b: np.where(c, a, b), "{1} if {0} else {2}", TERNARY, (OR, OR, TERNARY), 2.0, conditions=(0,)),
    "argmax": Operator(_argument_of(np.argmax), "[{all}].index(max({all}))", bits=3.0),
    "argmin": Operator(_argument_of(np.argmin), "[{all}].index(min({all}))", bits=3.0),
}
"""Name -> operator."""
