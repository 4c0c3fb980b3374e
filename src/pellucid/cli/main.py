"""From a line of arguments to a verb, its result as text or JSON, and an exit status."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence
from typing import Any, TypeVar

import tyro
from pydantic import ValidationError

from pellucid.cli.registry import VERBS
from pellucid.cli.verb import Verb
from pellucid.core import config as configs
from pellucid.core.errors import ConfigError, PellucidError, did_you_mean
from pellucid.core.logging import to_stderr
from pellucid.dictionaries.plugins import load_installed, load_modules

V = TypeVar("V", bound=Verb)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one verb; return the exit status: 0, 2 for an error the user can mend, 130 after Ctrl-C, 141 if no one reads on."""
    try:
        status = _run(list(sys.argv[1:] if arguments is None else arguments))
        sys.stdout.flush()
        return status
    except BrokenPipeError:  # `pellucid fit --help | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # else the interpreter tries again at its end
        return 141


def _run(arguments: list[str]) -> int:
    to_stderr()
    if not arguments or arguments[0] in ("-h", "--help"):
        sys.stdout.write(_overview())
        return 0 if arguments else 2
    verb, rest = _split(arguments)
    if verb not in VERBS:
        return _unknown(verb, rest)
    try:
        options = parse(VERBS[verb], rest, verb)
        result = options.perform()
    except PellucidError as error:
        sys.stderr.write(f"pellucid {verb}: {error}\n")
        if "--json" in arguments:
            sys.stdout.write(json.dumps({"error": str(error), "kind": type(error).__name__}) + "\n")
        return 2
    except KeyboardInterrupt:
        return 130
    if result == {}:  # a rank that is not the first: that one speaks
        return 0
    sys.stdout.write((json.dumps(result, allow_nan=False) if options.json_ else _text(result)) + "\n")
    return 0


def _split(arguments: list[str]) -> tuple[str, list[str]]:
    """Return the verb, of two words where there is such a one, and what follows."""
    two = " ".join(arguments[:2])
    return (two, arguments[2:]) if two in VERBS else (arguments[0], arguments[1:])


def _unknown(word: str, rest: list[str]) -> int:
    """Explain the verbs that begin with a word, or say that none does; return the exit status."""
    family = [name for name in VERBS if name.startswith(f"{word} ")]
    if family and (not rest or rest[0] in ("-h", "--help")):
        sys.stdout.write(_overview(family))
        return 0 if rest else 2
    asked = " ".join([word, *rest[:1]]) if family else word
    sys.stderr.write(f"pellucid: unknown verb '{asked}'.{did_you_mean(asked, VERBS)}\n{_overview(family or None)}")
    return 2


def parse(kind: type[V], arguments: Sequence[str], verb: str) -> V:
    """Return a verb's options from a YAML file (--config) and flags; ConfigError lists what does not fit."""
    path = _config_path(arguments)
    values = configs.load_yaml(path) if path else {}
    load_installed()
    load_modules([*_listed(values.get("plugin")), *_plugins(arguments)])  # before anything that names an architecture is read
    default = configs.build(kind, values, where=path or "config")
    try:
        return tyro.cli(kind, args=list(arguments), default=default, prog=f"pellucid {verb}", description=kind.description())
    except (ValidationError, SystemExit) as stop:
        error = _validation(stop)
        if error is None:
            raise
        problems = "; ".join(f"{'.'.join(str(part) for part in item['loc'])}: {item['msg']}" for item in error.errors())
        raise ConfigError(f"the settings do not fit: {problems}") from None


def _validation(stop: BaseException | None) -> ValidationError | None:
    """Return the refused value behind an error: for settings within settings the parser shows it and exits."""
    while stop is not None and not isinstance(stop, ValidationError):
        stop = stop.__context__
    return stop


def _plugins(arguments: Sequence[str]) -> list[str]:
    """Return what follows --plugin, up to the next flag."""
    found: list[str] = []
    taking = False
    for argument in arguments:
        if argument.startswith("--"):
            taking = argument == "--plugin"
            found += [argument.split("=", 1)[1]] if argument.startswith("--plugin=") else []
        elif taking:
            found.append(argument)
    return found


def _listed(value: object) -> list[str]:
    """Return the names in a YAML value; anything else is left to the settings' own checks."""
    return [name for name in value if isinstance(name, str)] if isinstance(value, list) else []


def _config_path(arguments: Sequence[str]) -> str | None:
    for i, argument in enumerate(arguments):
        if argument == "--config" and i + 1 < len(arguments):
            return arguments[i + 1]
        if argument.startswith("--config="):
            return argument.split("=", 1)[1]
    return None


def _overview(names: Sequence[str] | None = None) -> str:
    lines = ["usage: pellucid VERB [options]   (pellucid VERB --help explains each)", ""]
    chosen = {name: VERBS[name] for name in names or VERBS}
    width = max(len(name) for name in chosen) + 2
    lines += [f"  {name:<{width}}{(kind.__doc__ or '').splitlines()[0]}" for name, kind in chosen.items()]
    return "\n".join(lines) + "\n"


def _text(result: Any) -> str:
    """Return what a person reads in the terminal."""
    if hasattr(result, "to_text"):
        return result.to_text()
    if isinstance(result, dict) and "dictionaries" in result:
        names = ("name", "objective", "site", "l0", "ce_increase", "kl", "fvu", "alive")
        rows = [names, *([_cell(entry.get(name)) for name in names] for entry in map(_placed, result["dictionaries"]))]
        widths = [max(len(str(row[i])) for row in rows) for i in range(len(names))]
        return "\n".join("  ".join(str(cell).ljust(width) for cell, width in zip(row, widths, strict=True)) for row in rows)
    return "\n".join(f"{key}: {value}" for key, value in result.items())


def _placed(entry: dict[str, Any]) -> dict[str, Any]:
    """Return a dictionary's entry with both sites in the place of one where it writes another than it reads."""
    return entry | {"site": f"{entry['site']} -> {entry['target']}"} if entry.get("target") else entry


def _cell(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
