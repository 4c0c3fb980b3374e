"""Names of states that say what they hold."""

from __future__ import annotations

import keyword
from dataclasses import replace

from pellucid.programs.language.expression import Call, Expression, Lookup, Variable, parts, substitute, variables
from pellucid.programs.language.machine import Machine, State

BY_MEANING = (
    ("a remainder", "remainder"),
    ("a counter modulo", "remainder"),
    ("a counter", "count"),
    ("the last output", "y"),
    ("the last input", "last"),
    ("the number of steps", "level"),
    ("the rank", "rank"),
)
RESERVED = {"xs", "ys", "min", "max", "abs", "int", "program", "NEXT", "OUTPUT", *keyword.kwlist}


def named(machine: Machine) -> Machine:
    """Return the same machine with readable state names and notes."""
    names: dict[str, str] = {}
    taken = {*machine.inputs, *RESERVED, *(table.name for table in machine.tables)}
    for state in _past_inputs_first(machine):
        wanted, note = _wish(state, machine, names)
        name, number = wanted, 2
        while name in taken:
            name, number = f"{wanted}{number}", number + 1
        taken.add(name)
        names[state.name] = name
        if note and not state.note:
            machine = _with_note(machine, state.name, note)
    return _renamed(machine, names)


def _past_inputs_first(machine: Machine) -> list[State]:
    """Order states so that one which copies another comes after it."""
    order = [s for s in machine.states if isinstance(s.update, Variable) and s.update.name in machine.inputs]
    rest = [s for s in machine.states if s not in order]
    while True:
        known = {s.name for s in order}
        more = [s for s in rest if isinstance(s.update, Variable) and s.update.name in known]
        if not more:
            return order + rest
        order += more
        rest = [s for s in rest if s not in more]


def _wish(state: State, machine: Machine, names: dict[str, str]) -> tuple[str, str]:
    if not _is_plain(state.name):
        return state.name, state.note
    update = state.update
    if isinstance(update, Variable) and update.name in machine.inputs:
        return f"{update.name}_before", f"{update.name} one step ago"
    if isinstance(update, Variable) and "_before" in names.get(update.name, ""):
        stem, _, lag = names[update.name].partition("_before")
        return f"{stem}_before{int(lag or 1) + 1}", f"{stem} {int(lag or 1) + 1} steps ago"
    for meaning, name in BY_MEANING:
        if state.note.startswith(meaning):
            return name, state.note
    adds = isinstance(update, Call) and update.operator == "add" and Variable(state.name) in update.arguments
    if adds and variables(update) <= {state.name, *machine.inputs}:
        return "total", "running sum"
    return "state" if len(machine.states) == 1 else state.name, state.note


def _is_plain(name: str) -> bool:
    return name[0] == "s" and (name == "s" or name[1:].isdigit())


def _with_note(machine: Machine, name: str, note: str) -> Machine:
    states = tuple(replace(s, note=note) if s.name == name else s for s in machine.states)
    return replace(machine, states=states)


def _renamed(machine: Machine, names: dict[str, str]) -> Machine:
    replacements: dict[str, Expression] = {old: Variable(new) for old, new in names.items()}
    tables = {table.name: _table_name(table, names, i, len(machine.tables)) for i, table in enumerate(machine.tables)}

    def changed(expression: Expression) -> Expression:
        return _with_table_names(substitute(expression, replacements), tables)

    states = tuple(replace(s, name=names[s.name], update=changed(s.update)) for s in machine.states)
    return replace(machine, states=states, outputs=tuple(changed(o) for o in machine.outputs))


def _table_name(table: Lookup, names: dict[str, str], i: int, n: int) -> str:
    kind = "NEXT" if table.name.startswith("NEXT") else "OUTPUT"
    return kind if n <= 2 and not table.name[-1] > "1" else table.name.replace("__", "_")


def _with_table_names(expression: Expression, tables: dict[str, str]) -> Expression:
    if not any(isinstance(part, Lookup) for part in parts(expression)):
        return expression
    if isinstance(expression, Call):
        return Call(expression.operator, tuple(_with_table_names(a, tables) for a in expression.arguments))
    if isinstance(expression, Lookup):
        arguments = tuple(_with_table_names(a, tables) for a in expression.arguments)
        return Lookup(tables[expression.name], expression.entries, arguments, expression.default)
    return expression
