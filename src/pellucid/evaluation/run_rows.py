"""One row of numbers per trained dictionary, read from the files of a run folder."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pellucid.core.errors import FileFormatError, RunError, raise_all
from pellucid.core.files import read_json

SCORES = ("l0", "ce_original", "ce_increase", "kl", "alive", "fvu")
NUMBERS = (*SCORES, "n_latents", "tokens", "warm_start_tokens", "held_out_tokens", "seconds")
SETTINGS = ("k", "pursuit_steps", "target_l0", "highest", "winners", "n_values", "sparsity")
"""Settings that may say how sparse a dictionary is, of which the first that it has does."""


@dataclass(frozen=True)
class Row:
    """A dictionary's numbers as its run states them; None is a number the run does not state."""

    run: str
    name: str
    host: str
    site: str
    """Site it reads; "site -> target" for one that writes another."""
    architecture: str
    objective: str
    setting: str
    """What sets its sparsity: "k 32" or "sparsity 4"; empty if not stated."""
    data_digest: str | None
    n_latents: float | None
    tokens: float | None
    """Tokens trained on with this objective."""
    warm_start_tokens: float | None
    """Tokens the dictionary it started from had been trained on."""
    held_out_tokens: float | None
    """Held-out positions its scores were measured on."""
    l0: float | None
    ce_original: float | None
    ce_increase: float | None
    kl: float | None
    alive: float | None
    alive_definition: str | None
    fvu: float | None
    seconds: float | None

    @property
    def label(self) -> str:
        """run/name: unique over a comparison."""
        return f"{self.run}/{self.name}"

    @property
    def budget(self) -> float | None:
        """All tokens seen: warm start + own training; None if its tokens are not stated."""
        return None if self.tokens is None else self.tokens + (self.warm_start_tokens or 0)


def run_names(runs: Sequence[Path]) -> list[str]:
    """Return a distinct name for each folder: its last part, or the whole path where two end alike."""
    last = [path.resolve().name for path in runs]
    return [name if last.count(name) == 1 else str(path) for name, path in zip(last, runs, strict=True)]


def read_rows(runs: Sequence[Path]) -> list[Row]:
    """Read the rows of several runs; every run that cannot be read is named in one RunError."""
    rows: list[Row] = []
    problems = ["no run given to compare"] if not runs else []
    problems += [f"{path} is given twice" for i, path in enumerate(runs) if path.resolve() in [p.resolve() for p in runs[:i]]]
    for path, name in zip(runs, run_names(runs), strict=True):
        try:
            rows += _rows_of(path, name)
        except (FileFormatError, RunError) as error:
            problems.append(str(error))
    raise_all(problems, RunError, title="these runs cannot be read" if len(problems) > 1 else "")
    return rows


def read_summary(run: Path) -> dict[str, Any]:
    """Read RUN/summary.json; RunError if it is not there, FileFormatError if it has another form."""
    path = run / "summary.json"
    if not path.is_file():
        raise RunError(f"{run} has no summary.json: it is not a run folder, or its fit has not finished")
    summary = read_json(path)
    entries = summary.get("dictionaries") if isinstance(summary, dict) else None
    if not isinstance(entries, list) or not all(isinstance(entry, dict) and "name" in entry for entry in entries):
        raise FileFormatError(f"{path}: wanted an object with a list 'dictionaries' of objects that each have a 'name'")
    return summary


def read_scores(run: Path) -> dict[str, dict[str, Any]]:
    """Read RUN/scores.json, {} if it is not there; FileFormatError if it has another form."""
    path = run / "scores.json"
    if not path.is_file():
        return {}
    scores = read_json(path)
    if not isinstance(scores, dict) or not all(isinstance(value, dict) for value in scores.values()):
        raise FileFormatError(f"{path}: wanted an object of objects, one per dictionary")
    return scores


def setting(entry: dict[str, Any]) -> str:
    """Return what sets a dictionary's sparsity: "k 32", "sparsity 4" or an empty string."""
    for key in SETTINGS:
        value = entry.get(key)
        if isinstance(value, (int, float)):
            return f"{key} {value:g}"
    return ""


def _rows_of(run: Path, run_name: str) -> list[Row]:
    summary, scores = read_summary(run), read_scores(run)
    data = summary.get("data")
    digest = data.get("digest") if isinstance(data, dict) else None
    problems: list[str] = []
    rows = []
    for entry in summary["dictionaries"]:
        name = str(entry["name"])
        # The summary is what a script reads first; a number only scores.json states still counts.
        scored = scores.get(name, {})
        values = {key: scored.get(key) for key in SCORES}
        values["held_out_tokens"] = scored.get("tokens")
        values |= {key: value for key, value in entry.items() if value is not None}
        numbers: dict[str, Any] = {
            key: _number(
                values.get(key),
                f"{run}/{'scores' if entry.get(key) is None else 'summary'}.json: '{key}' of '{name}'",
                problems,
            )
            for key in NUMBERS
        }
        definition = entry.get("alive_definition") or scored.get("alive_definition")
        words: dict[str, Any] = {key: str(entry.get(key) or "not stated") for key in ("site", "architecture", "objective")}
        if entry.get("target"):
            words["site"] += f" -> {entry['target']}"
        texts: dict[str, Any] = {"host": str(summary.get("host") or "not stated"), "setting": setting(entry)}
        optional: dict[str, Any] = {"data_digest": _text(digest), "alive_definition": _text(definition)}
        rows.append(Row(run=run_name, name=name, **words, **texts, **optional, **numbers))
    raise_all(problems, FileFormatError)
    return rows


def _text(value: Any) -> str | None:
    return None if value is None else str(value)


def _number(value: Any, what: str, problems: list[str]) -> float | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        problems.append(f"{what} is {value!r}, wanted a finite number or null")
        return None
    return float(value)
