"""The first page: what the run is, how good its dictionaries are, how their features are spread."""

from __future__ import annotations

from typing import Any

import numpy as np

from pellucid.core.errors import PellucidError
from pellucid.evaluation.compare import compare
from pellucid.evaluation.run_rows import read_scores, read_summary
from pellucid.web import charts, view
from pellucid.web.explorer.columns import SCORES
from pellucid.web.explorer.explored import ExploredRun
from pellucid.web.explorer.features import Features

EDGES = [-6.0 + 0.25 * i for i in range(25)]
"""Edges of the density plot, log10 of the firing rate."""


def values(run: ExploredRun) -> dict[str, Any]:
    """Return what the template shows; scores and dictionaries that cannot be read get a sentence in their place."""
    notes: dict[str, str] = {}
    dictionaries: list[dict[str, Any]] = []
    densities: list[dict[str, Any]] = []
    for colour, features in enumerate(run.features.values()):
        try:
            about, plot = _about(features), density(features, colour)
        except PellucidError as error:
            dictionaries.append({"name": features.name, "broken": str(error)})
        else:
            dictionaries.append(about)
            densities.append(plot)
    return {
        "title": run.title,
        "dictionaries": dictionaries,
        "densities": densities,
        "notes": notes,
        **_scores(run, notes),
    }


def _scores(run: ExploredRun, notes: dict[str, str]) -> dict[str, Any]:
    empty: dict[str, Any] = {"comparison": None, "plots": [], "plot_notes": [], "legend": [], "tables": []}
    try:
        comparison = compare([run.run])
        summary, scores = read_summary(run.run), read_scores(run.run)
        plots, missing = view.pareto(comparison)
    except PellucidError as error:
        notes["scores"] = f"Scores are left out: {error}"
        return empty
    return {
        "comparison": comparison,
        "plots": plots,
        "plot_notes": missing,
        "legend": view.Styles(comparison.groups).legend(),
        "tables": view.score_tables(summary["dictionaries"], scores),
    }


def _about(features: Features) -> dict[str, Any]:
    statistics = features.statistics()
    rate = statistics.columns["firing_rate"]
    explanations = features.explanations()
    best = [(name, explanations.mean(name)) for name in SCORES] if explanations else []
    return {
        "name": features.name,
        "site": features.about["site"],
        "n_latents": f"{features.n_latents:,}",
        "alive": f"{int((rate > 0).sum()):,}",
        "l0": f"{float(rate.sum(dtype=np.float64)):.1f}",
        "explained": f"{len(explanations.latents):,}" if explanations else "none",
        "scores": [f"{name} {score:.2f}" for name, score in best if score >= 0],
    }


def density(features: Features, colour: int) -> dict[str, Any]:
    """Return the histogram of a dictionary's firing rates."""
    rate = features.statistics().columns["firing_rate"]
    fired = np.log10(rate[rate > 0]).clip(EDGES[0], EDGES[-1])
    counts = np.histogram(fired, EDGES)[0].astype(float).tolist()
    return {
        "name": features.name,
        "svg": charts.histogram(EDGES, counts, "log10 firing rate", colour),
        "never": f"{int((rate == 0).sum()):,}",
    }
