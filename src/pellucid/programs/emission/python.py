"""A machine as a Python file: `program(xs)`, list in, list out, no imports."""

from __future__ import annotations

import textwrap

from pellucid.programs.language.expression import variables
from pellucid.programs.language.machine import Machine, State
from pellucid.programs.language.source import source, table_source

WIDTH = 110


def program_source(machine: Machine, documentation: list[str], constants: dict[int, str] | None = None) -> str:
    """Return a Python file that defines `program(xs)`.

    Inputs and outputs are lists of numbers, or of tuples where there are several a step. `documentation` is what the
    docstring says, a paragraph each; `constants` explains integers that occur in it.
    """
    lines = ["def program(xs):", *_docstring(machine, documentation)]
    for table in machine.tables:
        lines += _wrapped(f"    {table.name} = {table_source(table)}")
    lines += [f"    {s.name} = {_start(s)}{_comment(s)}" for s in machine.states]
    lines += ["    ys = []", f"    for {', '.join(machine.inputs)} in xs:"]
    update = _updates(machine)
    output = f"        ys.append({_output(machine)})"
    lines += [*update, output] if machine.late else [output, *update]
    return "\n".join([*lines, "    return ys"]) + "\n"


def _start(state: State) -> str:
    return str(state.initial) if isinstance(state.initial, int) else f"{state.initial.numerator} / {state.initial.denominator}"


def _comment(state: State) -> str:
    return f"  # {' '.join(state.note.split())}" if state.note else ""


def _output(machine: Machine) -> str:
    texts = [source(output) for output in machine.outputs]
    return texts[0] if len(texts) == 1 else f"({', '.join(texts)})"


def _updates(machine: Machine) -> list[str]:
    """Return assignments one after the other where the old values allow it, else one for all that depend on each other."""
    left, lines = list(machine.states), list[str]()
    while left:
        free = [s for s in left if not any(s.name in variables(other.update) for other in left if other is not s)]
        if not free:
            names, texts = ", ".join(s.name for s in left), ", ".join(source(s.update) for s in left)
            return [*lines, f"        {names} = {texts}"]
        lines += [f"        {free[0].name} = {source(free[0].update)}"]
        left.remove(free[0])
    return lines


def _docstring(machine: Machine, documentation: list[str]) -> list[str]:
    escaped = [paragraph.replace("\\", "\\\\").replace('"', '\\"') for paragraph in documentation]
    text = [line for paragraph in escaped for line in [*textwrap.wrap(paragraph, WIDTH - 7), ""]][:-1]
    first, rest = (text[0], text[1:]) if text else ("Recovered program.", [])
    return [f'    """{first}', *(f"    {line}".rstrip() for line in rest), '    """']


def _wrapped(line: str) -> list[str]:
    if len(line) <= WIDTH:
        return [line]
    head, body = line.split(" = ", 1)
    inner = textwrap.wrap(body[1:-1], WIDTH - 8, break_long_words=False)
    return [f"{head} = {body[0]}", *(f"        {part}" for part in inner), f"    {body[-1]}"]
