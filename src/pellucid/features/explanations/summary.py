"""Means over latents, with what chance gives beside them."""

from __future__ import annotations

from typing import Any

import numpy as np

from pellucid.features.explanations.work import Work
from pellucid.features.scores import SCORE_NAMES
from pellucid.features.scores.base import Z95


def summary_of(work: Work, n_asked: int, settings: dict[str, Any]) -> dict[str, Any]:
    """Return counts, and for each score mean, median, its 95 % interval over latents, and the same of the control."""
    scores = {}
    for name in SCORE_NAMES:
        rows = [values for (_, score), values in work.scores.items() if score == name]
        if rows:
            shuffled = [row["shuffled"] for row in rows if row["shuffled"] is not None]
            scores[name] = {**_figures([row["value"] for row in rows]), "shuffled": _figures(shuffled) if shuffled else None}
    return {
        "latents_asked": n_asked,
        "latents_explained": len(work.texts),
        "latents_too_rare": len(work.skipped),
        "scores": scores,
        "mean_characters": float(np.mean([len(text) for text in work.texts.values()])) if work.texts else None,
        "cost": {key: sum(cost.get(key, 0) for cost in work.costs) for key in sorted({k for c in work.costs for k in c})},
        "settings": settings,
    }


def _figures(values: list[float]) -> dict[str, float | int]:
    """Return mean -+ 1.96 s / sqrt(n), s the standard deviation over latents, the median and n."""
    found = np.array(values, float)
    half = Z95 * float(found.std(ddof=1)) / len(found) ** 0.5 if len(found) > 1 else 0.0
    mean = float(found.mean())
    return {"mean": mean, "low": mean - half, "high": mean + half, "median": float(np.median(found)), "n": len(found)}
