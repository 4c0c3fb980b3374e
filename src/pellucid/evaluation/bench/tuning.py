"""Settings that are tried: first sparsity, then the learning rate; the same number for every architecture."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Literal

from pellucid.core.config import build
from pellucid.dictionaries import ARCHITECTURES, ArchitectureBase
from pellucid.evaluation.bench.beds import Bed

Form = Literal["count", "level", "penalty", "rate", "share"]
FORMS: dict[str, Form] = {
    "k": "count", "pursuit_steps": "count", "target_l0": "level", "l1": "penalty", "highest": "rate", "least": "share",
}  # fmt: skip
"""Settings that decide sparsity, by their usual names: a number of latents, an L0 to aim at, a penalty in units of the data,
a share of tokens, a share of the largest code. The first that an architecture has is tuned; one with none of them has its
learning rate tuned alone."""

DENSE = {"winners": 1.0}
"""Set where an architecture has it: the sites compared have no privileged basis of which an atom would use few dimensions."""


@dataclass(frozen=True)
class Setting:
    """One setting of an architecture on a bed."""

    name: str
    architecture: dict[str, Any]
    lr: float
    value: float | None
    """Of the sparsity setting; None where there is none."""
    seed: int = 0


def sparsity_setting(kind: str) -> str | None:
    """Return the name of the setting that decides an architecture's sparsity, or None."""
    return next((name for name in FORMS if name in ARCHITECTURES[kind].Config.model_fields), None)


def natural(kind: str, bed: Bed) -> float | None:
    """Return where to begin: the L0 aimed at, the rate it needs, or the default penalty times the size of a coefficient."""
    name = sparsity_setting(kind)
    if name is None:
        return None
    if FORMS[name] in ("count", "level"):
        return bed.target_l0
    if FORMS[name] == "rate":
        return 2 * bed.target_l0 / bed.n_latents
    if FORMS[name] == "share":
        return 0.1
    default = ARCHITECTURES[kind].Config.model_fields[name].default
    return float(default) * bed.scale / math.sqrt(bed.target_l0)


def first_round(kind: str, bed: Bed) -> list[Setting]:
    """Return `levels` settings of sparsity around the natural one, or of the learning rate where there is no such setting."""
    start, places = natural(kind, bed), [i - bed.levels // 2 for i in range(bed.levels)]
    if start is None:
        return [_setting(kind, bed, None, bed.lr * 3.0**place, f"lr{place:+d}") for place in places]
    step = 3.0 if FORMS[sparsity_setting(kind) or ""] in ("penalty", "share") else 2.0 if bed.levels < 4 else 1.5
    values = distinct([start * step**place for place in places], _whole(kind), _most(kind, bed))
    return [_setting(kind, bed, value, bed.lr, f"sparsity{i}") for i, value in enumerate(values)]


def second_round(kind: str, bed: Bed, tried: Sequence[tuple[float | None, float]]) -> list[Setting]:
    """Return the bed's refined settings, their sparsity read off the first round's (value, L0).

    An architecture without a sparsity setting gets as many learning rates, between those tried.
    """
    if natural(kind, bed) is None:
        rates = [3.0 ** (i - len(bed.refined) / 2 + 0.5) for i in range(len(bed.refined))]
        return [_setting(kind, bed, None, bed.lr * rate, f"refined{i}") for i, rate in enumerate(rates)]
    points = [(value, l0) for value, l0 in tried if value is not None]
    found = []
    for i, (rate, share) in enumerate(bed.refined):
        (value,) = distinct([interpolated(points, share * bed.target_l0)], _whole(kind), _most(kind, bed))
        found.append(_setting(kind, bed, value, bed.lr * rate, f"refined{i}"))
    return found


def default_setting(kind: str, bed: Bed) -> Setting:
    """Return the architecture's defaults at the bed's width and learning rate; numbers of latents are the true L0, rounded."""
    counts = [name for name, form in FORMS.items() if form == "count" and name in ARCHITECTURES[kind].Config.model_fields]
    values = {name: max(1, round(bed.target_l0)) for name in counts}
    return Setting("default", {"kind": kind, "n_latents": bed.n_latents, **values}, bed.lr, None)


def interpolated(points: Sequence[tuple[float, float]], target: float) -> float:
    """Return the value at which L0 is `target`, log L0 linear in log value between neighbours that bracket it.

    Beyond all points: a factor of 4 past the one nearest the target, in the direction that the ends say.
    """
    ordered = sorted((math.log(value), math.log(max(l0, 1e-3))) for value, l0 in points)
    wanted = math.log(target)
    for (v0, l0), (v1, l1) in pairwise(ordered):
        if min(l0, l1) <= wanted <= max(l0, l1) and l0 != l1:
            return math.exp(v0 + (v1 - v0) * (wanted - l0) / (l1 - l0))
    value, l0 = min(ordered, key=lambda point: abs(point[1] - wanted))
    rises = ordered[-1][1] >= ordered[0][1]
    return math.exp(value + math.log(4) * (1 if (l0 < wanted) == rises else -1))


def distinct(values: Sequence[float], whole: bool, most: float) -> list[float]:
    """Return as many values, rounded where they are whole numbers from 1 to `most`, no two equal where there is room."""
    found: list[float] = []
    for value in values:
        value = min(max(value, 1), most) if whole else min(value, most)
        value = float(round(value)) if whole else value
        while whole and value in found and value < most:
            value += 1
        found.append(value)
    return found


def config_of(setting: Setting) -> ArchitectureBase:
    """Return the setting's architecture; ConfigError if it is impossible."""
    return build(ARCHITECTURES[setting.architecture["kind"]].Config, setting.architecture)


def _setting(kind: str, bed: Bed, value: float | None, lr: float, name: str) -> Setting:
    fields = ARCHITECTURES[kind].Config.model_fields
    values: dict[str, Any] = {"kind": kind, "n_latents": bed.n_latents} | {n: v for n, v in DENSE.items() if n in fields}
    field = sparsity_setting(kind)
    if value is not None and field is not None:
        values[field] = int(value) if _whole(kind) else value
        if FORMS[field] == "rate":  # the rarest group keeps its distance from the most frequent
            values |= {"lowest": value * fields["lowest"].default / fields["highest"].default} if "lowest" in fields else {}
    return Setting(name, values, lr, value)


def _whole(kind: str) -> bool:
    return FORMS.get(sparsity_setting(kind) or "") == "count"


def _most(kind: str, bed: Bed) -> float:
    form = FORMS.get(sparsity_setting(kind) or "")
    return {"count": float(bed.n_latents), "rate": 1.0, "share": 0.9}.get(form or "", math.inf)
