"""Architectures at equal L0: every score read off a method's own front, never beyond its ends."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from pellucid.evaluation.pareto import Curve, Point

MEASURES: dict[str, tuple[str, bool | None]] = {
    "mcs": ("mean matched cosine", True),
    "frr": ("features recovered (cosine > 0.9)", True),
    "f1": ("F1 of the support", True),
    "fvu": ("fraction of variance unexplained", False),
    "ce_increase": ("CE increase when spliced, nats", False),
    "gamma": ("relative reconstruction bias gamma (1: no shrinkage)", None),
    "code_ratio": ("code / true coefficient (1: no shrinkage)", None),
    "norm_ratio": ("length of the reconstruction / length", None),
    "dead": ("share of dead latents", False),
    "absorption": ("absorption", False),
    "absorption_full": ("tokens with parent wholly absorbed", False),
    "parent_cosine": ("cosine of children's atoms with parents", False),
    "stability": ("agreement of seeds (Hungarian, live atoms)", True),
    "cpu_seconds": ("CPU seconds of training a dictionary", False),
}
"""What is compared: its name in words, and whether more is better (None: nearer to 1 is)."""


NEAR = 1.5
"""A front is read at an L0 only if one of its settings is within this factor of it."""


@dataclass(frozen=True)
class Entry:
    """One architecture on one bed."""

    architecture: str
    matched: dict[str, float]
    """Scores at the target L0; empty if its front does not cover it."""
    reach: str
    """How it came to the target, or why not."""
    spread: dict[str, float]
    """Range of each score over seeds of the setting nearest the target."""
    best_mcs: float | None
    """Best mean matched cosine of all settings, whatever their L0; known with the truth alone."""
    default_mcs: float | None
    """That of the architecture's defaults."""


def entry(cell: dict[str, Any], target: float) -> Entry:
    """Return a cell's scores at the target L0.

    A method's curve is the Pareto front of FVU over L0 of its tuned settings; every other score is interpolated linearly in
    L0 between the same two neighbours. There is no extrapolation: a front that ends short of the target gives nothing.
    """
    tuned = [row for row in cell["settings"] if row["setting"] != "default" and row["fvu"] is not None]
    points = [Point(row["l0"], row["fvu"], str(number)) for number, row in enumerate(tuned)]
    curve = Curve(cell["architecture"], tuple(points), "L0", "FVU")
    keys = [key for key in MEASURES if all(isinstance(row.get(key), float) for row in tuned)]
    scores = {row["setting"]: row.get("mcs") for row in cell["settings"]}
    known = [value for name, value in scores.items() if name != "default" and value is not None]
    matched, reach = _at(curve, tuned, keys, target)
    if matched and cell["stability"]["matched"] is not None:
        matched["stability"] = cell["stability"]["matched"]
    seeds = cell["seeds"]
    spread = {key: max(row[key] for row in seeds) - min(row[key] for row in seeds) for key in keys if _whole(seeds, key)}
    return Entry(cell["architecture"], matched, reach, spread, max(known, default=None), scores.get("default"))


def winners(entries: Sequence[Entry], measure: str) -> list[str]:
    """Return the architectures whose matched score is best, and those within the larger seed range of it."""
    more = MEASURES[measure][1]
    found = {e.architecture: (e.matched[measure], e.spread.get(measure, 0.0)) for e in entries if measure in e.matched}
    if not found:
        return []

    def badness(value: float) -> float:
        return abs(value - 1) if more is None else -value if more else value

    best = min(found, key=lambda name: badness(found[name][0]))
    slack = {name: max(found[best][1], spread) for name, (_, spread) in found.items()}
    near = [name for name in found if badness(found[name][0]) <= badness(found[best][0]) + slack[name] and name != best]
    return [best, *sorted(near, key=lambda name: badness(found[name][0]))]


def _at(curve: Curve, rows: Sequence[dict[str, Any]], keys: Sequence[str], target: float) -> tuple[dict[str, float], str]:
    if not curve.points:
        return {}, "no setting has a finite error"
    low, high = curve.cost_range
    if not low <= target <= high:
        return {}, f"its front covers L0 {low:.3g} to {high:.3g}, not {target:.3g}"
    below = max((p for p in curve.front if p.cost <= target), key=lambda p: p.cost)
    above = min((p for p in curve.front if p.cost >= target), key=lambda p: p.cost)
    if min(target / max(below.cost, 1e-9), above.cost / target) > NEAR:
        return {}, f"no setting between L0 {below.cost:.3g} and {above.cost:.3g}"
    a, b = rows[int(below.name)], rows[int(above.name)]
    share = 0.0 if above.cost == below.cost else (target - below.cost) / (above.cost - below.cost)
    matched = {key: (1 - share) * a[key] + share * b[key] for key in keys}
    between = f"L0 {below.cost:.3g} and {above.cost:.3g}" if share else f"L0 {below.cost:.3g}"
    return matched, f"read at {between}"


def _whole(rows: Sequence[dict[str, Any]], key: str) -> bool:
    return all(isinstance(row.get(key), float) for row in rows)
