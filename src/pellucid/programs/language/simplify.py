"""Shorter ways to write the same expression."""

from __future__ import annotations

from pellucid.programs.language.expression import Call, Constant, Expression, Lookup, call
from pellucid.programs.language.operators import OPERATORS

COMPARISONS = ("eq", "ne", "lt", "le", "ge")
ZERO, ONE = Constant(0), Constant(1)


def simplified(expression: Expression) -> Expression:
    """Return an equal expression without detours such as a - b == 0 or (1 if c else 0)."""
    if isinstance(expression, Lookup):
        return Lookup(expression.name, expression.entries, tuple(map(simplified, expression.arguments)), expression.default)
    if not isinstance(expression, Call):
        return expression
    inner = Call(expression.operator, tuple(map(simplified, expression.arguments)))
    return _shorter(inner)


def _shorter(e: Expression) -> Expression:
    if not isinstance(e, Call):
        return e
    a = e.arguments
    if e.operator in COMPARISONS and a[1] == ZERO and isinstance(a[0], Call) and a[0].operator == "sub":
        return Call(e.operator, a[0].arguments)
    if e.operator == "if":
        return _decision(e)
    if e.operator == "not" and isinstance(a[0], Call):
        return _negated(e, a[0])
    if e.operator == "eq" and _is_truth(a[0]) and a[1] in (ZERO, ONE):
        return a[0] if a[1] == ONE else _shorter(call("not", a[0]))
    if e.operator == "sub" and a[0] == ONE and _is_truth(a[1]):
        return _shorter(call("not", a[1]))
    if e.operator == "add" and isinstance(a[1], Call) and a[1].operator == "neg":
        return _shorter(call("sub", a[0], a[1].arguments[0]))
    return e


def _decision(e: Call) -> Expression:
    condition, then, otherwise = e.arguments
    if then == ONE and otherwise == ZERO and _is_truth(condition):
        return condition
    if then == ZERO and otherwise == ONE:
        return _shorter(call("not", condition))
    return e


def _negated(e: Call, inner: Call) -> Expression:
    opposite = {"eq": "ne", "ne": "eq", "lt": "ge", "ge": "lt"}
    if inner.operator in opposite:
        return Call(opposite[inner.operator], inner.arguments)
    return e


def _is_truth(expression: Expression) -> bool:
    return isinstance(expression, Call) and OPERATORS[expression.operator].truth
