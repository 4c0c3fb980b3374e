"""Curves of a run's metrics.jsonl, thinned to what a chart can show."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeGuard

from pellucid.core.errors import FileFormatError

POINTS = 150
"""Points kept per curve; each is the mean of the lines it stands for."""
NOT_CURVES = frozenset({"step", "tokens", "dictionary"})


@dataclass
class Metrics:
    """Curves by metric, then by dictionary: (tokens, value) pairs in the order logged."""

    curves: dict[str, dict[str, list[tuple[float, float]]]] = field(default_factory=dict)
    lines_per_point: int = 1
    cut: bool = False
    """Whether the last line was cut short, as a killed fit leaves it."""


def read_metrics(run: Path) -> Metrics:
    """Read RUN/metrics.jsonl; FileFormatError names the line that is not a JSON object.

    A last line without its end is left out and `cut` says so; dropped updates, nulls and lines about no dictionary are no
    curve points.
    """
    path = run / "metrics.jsonl"
    out = Metrics()
    text = path.read_bytes().decode("utf-8", errors="replace")
    lines = text.split("\n")
    out.cut = bool(lines.pop().strip())
    for number, line in enumerate(lines, start=1):
        _add(out, line, f"{path}, line {number}")
    longest = max((len(curve) for curves in out.curves.values() for curve in curves.values()), default=0)
    out.lines_per_point = max(1, -(-longest // POINTS))
    for curves in out.curves.values():
        for name, curve in curves.items():
            curves[name] = _means(curve, out.lines_per_point)
    return out


def _add(out: Metrics, line: str, where: str) -> None:
    if not line.strip():
        return
    try:
        values = json.loads(line)
    except json.JSONDecodeError as error:
        raise FileFormatError(f"{where} is not valid JSON: {error}") from None
    if not isinstance(values, dict):
        raise FileFormatError(f"{where} holds a {type(values).__name__}, wanted an object")
    name, at = values.get("dictionary"), values.get("tokens")
    if name is None or "event" in values or not _is_number(at):
        return
    for key, value in values.items():
        if key not in NOT_CURVES and _is_number(value):
            out.curves.setdefault(key, {}).setdefault(str(name), []).append((float(at), float(value)))


def _is_number(value: object) -> TypeGuard[float]:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) < float("inf")


def _means(curve: list[tuple[float, float]], n: int) -> list[tuple[float, float]]:
    parts = [curve[i : i + n] for i in range(0, len(curve), n)]
    return [(part[-1][0], sum(value for _, value in part) / len(part)) for part in parts]
