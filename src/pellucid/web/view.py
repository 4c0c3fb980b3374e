"""Charts and tables of the pages, from the numbers of runs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from pellucid.core.errors import FileFormatError
from pellucid.evaluation.comparability import count
from pellucid.evaluation.compare import COSTS, MEASURES, Comparison, Group
from pellucid.evaluation.run_rows import Row, setting
from pellucid.web import charts
from pellucid.web.charts import Series
from pellucid.web.definitions import TABLES, Column
from pellucid.web.run_files import Metrics

CURVES = {
    "loss": "Training loss. Losses of different objectives are different quantities: compare shapes, not heights.",
    "l0": "Active latents per position.",
    "dead": "Latents that have not fired for a while.",
    "grad_norm": "Norm of the gradient before clipping.",
}
"""Curves shown first, with a caption each; others follow by name, folded away."""


class Styles:
    """One colour per group and one strength per dictionary in it, the same in every chart of a page."""

    def __init__(self, groups: Sequence[Group]) -> None:
        self.groups = list(groups)
        self._of = {row.label: (i, j) for i, group in enumerate(groups) for j, row in enumerate(group.rows)}

    def of(self, label: str) -> tuple[int, int]:
        """Return (colour, shade) of a run/name label; names in no group come last."""
        return self._of.get(label, (len(self.groups), 0))

    def legend(self) -> list[dict[str, str]]:
        """Return marker and words per group."""
        return [{"marker": charts.marker(i), "label": group.label} for i, group in enumerate(self.groups)]


def pareto(comparison: Comparison) -> tuple[list[dict[str, str]], list[str]]:
    """Return the trade-off plots, and a sentence for each that cannot be drawn."""
    plots, notes = [], []
    measure = MEASURES[comparison.measure]
    for cost, name in COSTS.items():
        series = [_pareto_series(i, group, cost, comparison) for i, group in enumerate(comparison.groups)]
        series = [one for one in series if one.points]
        if series:
            plots.append({"svg": charts.scatter(series, name, f"{measure} (nats)"), "caption": f"{measure} against {name}."})
        else:
            notes.append(f"No dictionary states both {name} and {measure}, so that plot is left out.")
    return plots, notes


def _pareto_series(index: int, group: Group, cost: Any, comparison: Comparison) -> Series:
    curve = group.curve(cost, comparison.measure)
    off = {id(point) for point in curve.dominated}
    settings = {row.label: row.setting for row in group.rows}
    several = len(comparison.runs) > 1
    tips = []
    for point in curve.points:
        name = point.name if several else point.name.partition("/")[2]
        tail = "\noff the Pareto front" if id(point) in off else ""
        named = f"{name} ({settings[point.name]})" if settings[point.name] else name
        tips.append(f"{named}\n{COSTS[cost]} {point.cost:,.5g}\n{MEASURES[comparison.measure]} {point.loss:.4g} nats{tail}")
    points = [(point.cost, point.loss) for point in curve.points]
    faint = frozenset(i for i, point in enumerate(curve.points) if id(point) in off)
    line = [(point.cost, point.loss) for point in curve.front]
    return Series(group.label, index, points=points, tips=tips, line=line, faint=faint)


def score_tables(entries: Sequence[dict[str, Any]], scores: dict[str, dict[str, Any]]) -> list[dict[str, Any]]:
    """Return one table per theme; columns no dictionary has a number for are left out."""
    tables = []
    for title, columns in TABLES:
        values = {str(entry["name"]): {**entry, **scores.get(str(entry["name"]), {})} for entry in entries}
        if title == "Reconstruction":
            # In the summary `tokens` means tokens trained on; only the scores hold held-out positions.
            for name, found in values.items():
                found["tokens"] = scores.get(name, {}).get("tokens")
        used = [c for c in columns if any(isinstance(found.get(c.key), (int, float)) for found in values.values())]
        rows = [(name, setting(entry), [_format(values[name], c) for c in used]) for name, entry in _named(entries)]
        if used:
            tables.append({"title": title, "columns": used, "rows": rows})
    return tables


def _named(entries: Sequence[dict[str, Any]]) -> list[tuple[str, dict[str, Any]]]:
    return [(str(entry["name"]), entry) for entry in entries]


def _format(values: dict[str, Any], column: Column) -> str:
    value = values.get(column.key)
    return format(value, column.form) if isinstance(value, (int, float)) else "\u2013"


def overview(rows: Sequence[Row], several: bool) -> list[list[str]]:
    """Return the rows of the comparison table as text."""
    out = []
    for row in rows:
        numbers = [(row.l0, ",.2f"), (row.alive, ",.0f"), (row.ce_increase, ".4f"), (row.kl, ".4f"), (row.fvu, ".4f")]
        shown = [format(value, form) if value is not None else "\u2013" for value, form in numbers]
        words = [
            row.label if several else row.name,
            row.objective,
            row.architecture,
            row.site,
            row.setting,
            count(row.n_latents),
        ]
        out.append(
            [
                *(word or "\u2013" for word in words),
                *shown,
                count(row.budget) or "\u2013",
                count(row.warm_start_tokens) or "\u2013",
            ]
        )
    return out


def training(metrics: Metrics, run: str, styles: Styles) -> list[dict[str, Any]]:
    """Return one chart per logged metric, the well-known ones first."""
    known = [key for key in CURVES if key in metrics.curves]
    plots = []
    for key in [*known, *sorted(set(metrics.curves) - set(known))]:
        series = [_curve(name, run, styles, line) for name, line in metrics.curves[key].items()]
        caption = CURVES.get(key, f"{key} as logged.")
        plots.append({"svg": charts.lines(series, "tokens", key), "caption": caption, "first": key in CURVES})
    return plots


def downstream(scores: dict[str, dict[str, Any]], run: str, styles: Styles) -> str | None:
    """Return the chart of the error at each later site, or None if no dictionary has it; FileFormatError if malformed."""
    found = {name: values["downstream_mse"] for name, values in scores.items() if values.get("downstream_mse")}
    sites: dict[str, None] = {}
    for name, errors in found.items():
        if not isinstance(errors, dict) or not all(isinstance(v, (int, float)) for v in errors.values()):
            raise FileFormatError(f"scores.json: 'downstream_mse' of '{name}' is not an object of numbers")
        sites |= dict.fromkeys(errors)
    names = sorted(sites, key=_natural)
    series = []
    for name, errors in found.items():
        line = sorted((float(names.index(site)), float(error)) for site, error in errors.items())
        series.append(_curve(name, run, styles, line))
    short = [name.removeprefix("layers.") for name in names]
    return charts.lines(series, "site (block)" if short != names else "site", "MSE", short) if series else None


def densities(scores: dict[str, dict[str, Any]], run: str, styles: Styles) -> list[dict[str, Any]]:
    """Return one histogram per dictionary that has one; FileFormatError if malformed."""
    out = []
    for name, values in scores.items():
        found = values.get("density")
        if not found:
            continue
        try:
            edges, counts = [float(e) for e in found["log10_edges"]], [float(c) for c in found["counts"]]
            never = float(found.get("never") or 0)
        except (KeyError, TypeError, ValueError) as error:
            raise FileFormatError(f"scores.json: 'density' of '{name}' has another form: {error!r}") from None
        if len(edges) != len(counts) + 1 or sorted(set(edges)) != edges:
            found_here = f"{len(edges)} edges for {len(counts)} counts, or edges that do not rise"
            raise FileFormatError(f"scores.json: 'density' of '{name}' has {found_here}")
        svg = charts.histogram(edges, counts, "log10 share of positions", styles.of(f"{run}/{name}")[0])
        out.append({"name": name, "svg": svg, "never": count(never or None)})
    return out


def attempt(notes: dict[str, str], part: str, make: Callable[[], Any]) -> Any:
    """Return make(), or None with the reason in notes[part] if the part's file has another form."""
    try:
        return make()
    except FileFormatError as error:
        notes[part] = f"Left out: {error}"
        return None


def _curve(name: str, run: str, styles: Styles, line: list[tuple[float, float]]) -> Series:
    colour, shade = styles.of(f"{run}/{name}")
    return Series(name, colour, line=line, shade=shade)


def _natural(site: str) -> list[tuple[int, str]]:
    """Sort key that puts layers.9 before layers.10."""
    return [(int(part), "") if part.isdigit() else (-1, part) for part in site.split(".")]
