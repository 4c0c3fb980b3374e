"""Pages that open offline: the report of a run, and the comparison of several."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pellucid.core.files import read_json, write_text
from pellucid.evaluation.compare import Comparison, compare
from pellucid.evaluation.run_rows import read_scores, read_summary, run_names
from pellucid.web import view
from pellucid.web.features_view import FEATURES, read_features
from pellucid.web.rendering import TEMPLATES, environment
from pellucid.web.run_files import read_metrics


def write_report(run: Path, others: Sequence[Path] = (), reference: str = "local") -> Path:
    """Write RUN/report.html, one file that needs nothing outside itself, and return its path.

    `others` are runs to set beside this one in the trade-off plots and ratios. A piece whose file is missing or has
    another form is left out, with a sentence in its place. Raises RunError or FileFormatError if a summary.json cannot
    be used, PellucidError if jinja2 is not installed.
    """
    run, others = Path(run), [Path(other) for other in others]
    summary = read_summary(run)
    notes: dict[str, str] = {}
    comparison = _comparison([run, *others], reference)
    name = run_names([run, *others])[0]
    page = _run_page(run, name, summary, comparison, notes)
    path = run / "report.html"
    _write(path, "report.html", page | _trade_off(comparison) | {"notes": notes})
    return path


def write_comparison(comparison: Comparison, path: Path) -> Path:
    """Write a comparison as one offline page and return its path; PellucidError if jinja2 is not installed."""
    path = Path(path)
    n = len(comparison.runs)
    _write(path, "comparison.html", _trade_off(comparison) | {"title": f"Comparison of {n} run{'s' if n > 1 else ''}"})
    return path


def _comparison(runs: list[Path], reference: str) -> Comparison:
    """By CE increase; by KL where no dictionary has a CE increase, as on hosts without next-token labels."""
    comparison = compare(runs, reference)
    if all(row.ce_increase is None for row in comparison.rows) and any(row.kl is not None for row in comparison.rows):
        return compare(runs, reference, measure="kl")
    return comparison


def _trade_off(comparison: Comparison) -> dict[str, Any]:
    plots, missing = view.pareto(comparison)
    return {
        "comparison": comparison,
        "plots": plots,
        "plot_notes": missing,
        "legend": view.Styles(comparison.groups).legend(),
        "overview": view.overview(comparison.rows, len(comparison.runs) > 1),
    }


def _run_page(run: Path, name: str, summary: dict[str, Any], comparison: Comparison, notes: dict[str, str]) -> dict[str, Any]:
    """Everything the report says about this run alone; `notes` receives why a part is missing."""
    styles = view.Styles(comparison.groups)
    scores = view.attempt(notes, "scores", lambda: read_scores(run)) or {}
    metrics = _optional(run, "metrics.jsonl", "training", notes, lambda: read_metrics(run))
    features = _optional(run, "features.json", "features", notes, lambda: read_features(run))
    return {
        "title": name,
        "summary": summary,
        "sites": sorted({row.site for row in comparison.rows if row.run == name}),
        "own": [row for row in comparison.rows if row.run == name],
        "tables": view.score_tables(summary["dictionaries"], scores),
        "metrics": metrics,
        "training": view.training(metrics, name, styles) if metrics else [],
        "densities": view.attempt(notes, "density", lambda: view.densities(scores, name, styles)),
        "downstream": view.attempt(notes, "downstream", lambda: view.downstream(scores, name, styles)),
        "features": {key: sample for key, sample in (features or {}).items() if sample.cards},
        "features_shown": FEATURES,
        "provenance": _optional(run, "provenance.json", "provenance", notes, lambda: read_json(run / "provenance.json")),
        "config": _optional(run, "config.yaml", "config", notes, lambda: (run / "config.yaml").read_text(encoding="utf-8")),
    }


def _optional(run: Path, file: str, part: str, notes: dict[str, str], read: Any) -> Any:
    if not (run / file).is_file():
        notes[part] = f"Left out: this run has no {file}."
        return None
    return view.attempt(notes, part, read)


def _write(path: Path, template: str, values: dict[str, Any]) -> None:
    pages = environment(TEMPLATES)
    assets = {name: (TEMPLATES / name).read_text(encoding="utf-8") for name in ("style.css", "script.js")}
    html = pages.get_template(template).render(values, style=assets["style.css"], script=assets["script.js"])
    # A lone surrogate in a name cannot be written as UTF-8.
    write_text(path, html.encode("utf-8", "backslashreplace").decode("utf-8"))
