"""Expressions written as Python."""

from __future__ import annotations

from fractions import Fraction

from pellucid.programs.language.expression import Call, Constant, Expression, Lookup, Variable
from pellucid.programs.language.operators import ATOM, OPERATORS, PRODUCT, SIGN, SUM


def source(expression: Expression, condition: bool = False) -> str:
    """Return Python text of the expression; as a condition, a comparison stays as it is instead of int(...)."""
    return _text(expression, condition)[0]


def _text(expression: Expression, condition: bool = False) -> tuple[str, int]:
    if isinstance(expression, Variable):
        return expression.name, ATOM
    if isinstance(expression, Constant):
        return _number(expression.value)
    if isinstance(expression, Lookup):
        return _lookup(expression)
    operator = OPERATORS[expression.operator]
    if "{all}" in operator.text:
        return operator.text.format(all=", ".join(_text(argument)[0] for argument in expression.arguments)), operator.binding
    texts = []
    for i, argument in enumerate(expression.arguments):
        text, binding = _text(argument, i in operator.conditions)
        wanted = operator.inside[i] if operator.inside else -1
        texts.append(f"({text})" if binding < wanted else text)
    text = operator.text.format(*texts)
    if operator.truth and not condition:
        if expression.operator == "not" and not _is_condition(expression.arguments[0]):
            text, binding = _text(expression.arguments[0])
            return f"1 - {text if binding >= PRODUCT else f'({text})'}", SUM
        return f"int({text})", ATOM
    return text, operator.binding


def _is_condition(expression: Expression) -> bool:
    return isinstance(expression, Call) and OPERATORS[expression.operator].truth


def _number(value: int | Fraction) -> tuple[str, int]:
    if isinstance(value, Fraction) and value.denominator != 1:
        return f"{value.numerator} / {value.denominator}", PRODUCT if value >= 0 else SIGN - 2
    return str(int(value)), ATOM if value >= 0 else SIGN


def _lookup(lookup: Lookup) -> tuple[str, int]:
    texts, bindings = zip(*(_text(argument) for argument in lookup.arguments), strict=True)
    if _is_row(lookup):
        start = lookup.entries[0][0][0]
        first = texts[0] if start == 0 or bindings[0] >= SUM else f"({texts[0]})"
        place = first if start == 0 else f"{first} {'-' if start > 0 else '+'} {abs(start)}"
        return f"{lookup.name}[{place}]", ATOM
    return f"{lookup.name}[{', '.join(texts)}]", ATOM


def _is_row(lookup: Lookup) -> bool:
    """Say whether the table is a plain list: one argument, keys that follow each other."""
    keys = [key for key, _ in lookup.entries]
    return len(keys[0]) == 1 and [key[0] for key in keys] == list(range(keys[0][0], keys[0][0] + len(keys)))


def table_source(lookup: Lookup) -> str:
    """Return the literal that a table is looked up in: a tuple for consecutive keys, else a dictionary."""
    if _is_row(lookup):
        values = ", ".join(str(value) for _, value in lookup.entries)
        return f"({values},)" if len(lookup.entries) == 1 else f"({values})"
    items = [f"{key[0] if len(key) == 1 else key}: {value}" for key, value in lookup.entries]
    return "{" + ", ".join(items) + "}"
