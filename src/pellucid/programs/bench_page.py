"""The benchmark's page: a table beside the published results, then each task's program, picture and verdict."""

from __future__ import annotations

from html import escape
from pathlib import Path
from statistics import median
from typing import Any

from pellucid.programs.published import GPT4, MIPS

STYLE = """body{font:15px/1.5 system-ui,sans-serif;max-width:70rem;margin:2rem auto;padding:0 1rem;color:#222}
table{border-collapse:collapse}td,th{padding:.15rem .6rem;border-bottom:1px solid #ddd;text-align:left}
pre{background:#f6f6f8;padding:.8rem;overflow:auto}svg{max-width:26rem;display:block}.no{color:#a33}"""
COLUMNS = ("form", "exact_at_training_length", "exact_at_any_length", "network_agreement", "network_errors", "states")


def page(results: dict[str, Any], folder: Path) -> str:
    """Return HTML that opens offline; `folder`/NAME holds each task's files."""
    rows = results["tasks"]
    solved = sum(bool(row["solved"]) for row in rows)
    theirs = [sum(row["task"] in names for row in rows) for names in (MIPS, GPT4)]
    head = f"<p>{solved} of {len(rows)} solved; of the same tasks MIPS solved {theirs[0]}, GPT-4 {theirs[1]}.</p>"
    titles = ["task", "solved", "MIPS", "GPT-4", *COLUMNS, "seconds training", "seconds distilling"]
    table = "".join(f"<th>{escape(title.replace('_', ' '))}</th>" for title in titles)
    body = "".join(_row(row) for row in rows)
    sections = "".join(_section(row, folder / row["task"]) for row in rows)
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>MIPS tasks</title><style>{STYLE}</style>'
        f"<h1>Programs recovered from recurrent networks</h1>{head}{_how(results)}"
        f"<table><tr>{table}</tr>{body}</table>{sections}</html>\n"
    )


def _how(results: dict[str, Any]) -> str:
    """Return what it took, and how it can be done again."""
    distilling = [row["seconds_distilling"] for row in results["tasks"] if row.get("seconds_distilling") is not None]
    origin = results["provenance"]
    median_seconds = f", from network to program a median of {median(distilling):.2g} s" if distilling else ""
    versions = ", ".join(f"{name} {version}" for name, version in origin["versions"].items())
    return (
        f"<p>{results['seconds']:.0f} s on {results['processors']} processors{median_seconds}. Seed "
        f"{origin['settings']['training']['seed']}, the same settings for every task. {escape(origin['date'])}; "
        f"{escape(versions)}. Command: <code>{escape(' '.join(['pellucid', *origin['command'][1:]]))}</code></p>"
    )


def _row(row: dict[str, Any]) -> str:
    name = row["task"]
    values = [row["solved"], name in MIPS, name in GPT4, *(row.get(column) for column in COLUMNS)]
    values += [row.get("seconds_training"), row.get("seconds_distilling")]
    cells = "".join(f"<td>{_cell(value)}</td>" for value in values)
    return f'<tr><td><a href="#{escape(name)}">{escape(name)}</a></td>{cells}</tr>'


def _cell(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else '<span class="no">no</span>'
    if isinstance(value, float):
        return f"{value:.4g}"
    return "" if value is None else escape(str(value))


def _section(row: dict[str, Any], folder: Path) -> str:
    parts = [f'<h2 id="{escape(row["task"])}">{escape(row["task"])}</h2>']
    if row.get("reason"):
        parts.append(f'<p class="no">{escape(row["reason"])}</p>')
    program = folder / "program.py"
    if program.exists():
        parts.append(f"<pre>{escape(program.read_text(encoding='utf-8'))}</pre>")
    picture = folder / "automaton.svg"
    if picture.exists():
        parts.append(picture.read_text(encoding="utf-8"))
    return "".join(parts)
