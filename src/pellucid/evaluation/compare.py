"""Compare runs: which dictionaries buy the most fidelity for the fewest latents, and how sure that is."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from rich.console import Console
from rich.table import Table

from pellucid.core.logging import finite
from pellucid.evaluation import comparability
from pellucid.evaluation.pareto import Curve, Point, Ratio, Refusal, loss_ratio, ratio_at_equal, show
from pellucid.evaluation.run_rows import Row, read_rows

Measure = Literal["ce_increase", "kl"]
Cost = Literal["l0", "alive"]
MEASURES: dict[str, str] = {"ce_increase": "CE increase", "kl": "KL"}
COSTS: dict[Cost, str] = {"l0": "active latents (L0)", "alive": "alive latents"}
PLACES = 20
"""Evenly spaced values a mean ratio is taken over (Braun et al. 2024)."""


@dataclass(frozen=True)
class Group:
    """Dictionaries that differ only in how sparse they are: one curve on a plot.

    Dictionaries of different hosts or data never share a curve, whatever else they share.
    """

    host: str
    data: str
    """First characters of the data digest."""
    site: str
    architecture: str
    objective: str
    label: str
    """The objective, with architecture, site, host and data where those differ within the comparison."""
    rows: tuple[Row, ...]

    def curve(self, cost: Cost, measure: Measure) -> Curve:
        """The group's trade-off between a cost and a measure; rows that state only one of them are left out."""
        pairs = [(getattr(row, cost), getattr(row, measure), row.label) for row in self.rows]
        points = tuple(Point(x, y, name) for x, y, name in pairs if x is not None and y is not None)
        return Curve(self.label, points, COSTS[cost], MEASURES[measure])


@dataclass(frozen=True)
class Finding:
    """One ratio between two groups, or why there is none."""

    reference: str
    other: str
    quantity: str
    """What is compared: "l0 at equal ce_increase"."""
    ratio: float | None
    """Mean of other / reference; None if refused."""
    sentence: str
    values: Ratio | None = None


@dataclass(frozen=True)
class Comparison:
    """Rows, groups, ratios and everything that limits them."""

    runs: tuple[str, ...]
    reference: str
    measure: Measure
    rows: tuple[Row, ...]
    groups: tuple[Group, ...]
    findings: tuple[Finding, ...]
    warnings: tuple[str, ...]

    @property
    def sentences(self) -> list[str]:
        """The findings in words."""
        return [finding.sentence for finding in self.findings]

    def to_json(self) -> dict[str, Any]:
        """Return everything as one JSON-able dict."""
        out: dict[str, Any] = {"runs": list(self.runs), "reference": self.reference, "measure": self.measure}
        out["rows"] = [asdict(row) for row in self.rows]
        out["groups"] = [_group_json(group, self.measure) for group in self.groups]
        out["findings"] = [_finding_json(finding) for finding in self.findings]
        return finite(out | {"sentences": self.sentences, "warnings": list(self.warnings)})

    def to_text(self, width: int = 120) -> str:
        """Return a table of the rows, the findings and the warnings as plain text."""
        table = Table(box=None, pad_edge=False, header_style="")
        for title, key in COLUMNS.items():
            numeric = key not in ("label", "objective", "architecture", "site", "setting")
            table.add_column(title, justify="right" if numeric else "left", no_wrap=numeric)
        for row in self.rows:
            table.add_row(*[_cell(getattr(row, key)) for key in COLUMNS.values()])
        console = Console(file=io.StringIO(), width=width, color_system=None, highlight=False, markup=False, emoji=False)
        console.print(table)
        for title, lines in (("Findings", self.sentences), ("Warnings", self.warnings)):
            if lines:
                console.print(f"\n{title}")
                for line in lines:
                    console.print(f"- {line}")
        text = console.file.getvalue()  # type: ignore[attr-defined]
        return "\n".join(line.rstrip() for line in text.splitlines()) + "\n"


COLUMNS = {
    "dictionary": "label",
    "objective": "objective",
    "architecture": "architecture",
    "site": "site",
    "set by": "setting",
    "L0": "l0",
    "alive": "alive",
    "CE increase": "ce_increase",
    "KL": "kl",
    "FVU": "fvu",
    "budget": "budget",
}
"""Title and Row attribute of each column of the terminal table."""


def compare(
    runs: Sequence[Path],
    reference: str = "local",
    vary: Literal["objective", "architecture"] = "objective",
    measure: Measure = "ce_increase",
) -> Comparison:
    """Compare the dictionaries of several runs.

    Dictionaries of one host and data are grouped by (site, architecture, objective). Each group is set against the
    group that differs from it in `vary` alone, where that is `reference`: ratio of L0 and of alive latents at equal
    `measure` (see `pareto.ratio_at_equal`), and the mean ratio of `measure` at equal L0 and equal alive count
    (`pareto.loss_ratio`). `measure` is "ce_increase" or "kl" (nats), the latter for hosts without next-token labels.

    Raises RunError naming every run that cannot be read. Whatever makes numbers incomparable is a warning with the
    names; between other hosts, other data or (for alive counts) other definitions no ratio is given at all.
    """
    rows = read_rows([Path(run) for run in runs])
    groups = _groups(rows)
    found: list[Finding] = []
    warnings = comparability.warnings(rows, measure)
    for group in groups:
        if getattr(group, vary) == reference:
            continue
        bases = [g for g in groups if getattr(g, vary) == reference and _match(g, group, vary)]
        base = min(bases, key=lambda g: (g.host, g.data) != (group.host, group.data), default=None)
        if base is None:
            warnings.append(f"No dictionary with {vary} '{reference}' matches {group.label}: no ratio to it is given.")
        else:
            found += _findings(base, group, measure)
    names = tuple(dict.fromkeys(row.run for row in rows))
    return Comparison(names, reference, measure, tuple(rows), tuple(groups), tuple(found), tuple(warnings))


def _groups(rows: Sequence[Row]) -> list[Group]:
    members: dict[tuple[str, ...], list[Row]] = {}
    for row in rows:
        data = (row.data_digest or "data not stated")[:12]
        members.setdefault((row.host, data, row.site, row.architecture, row.objective), []).append(row)
    differs = [len({key[part] for key in members}) > 1 for part in range(4)]
    groups = []
    for key, found in members.items():
        words = [key[part] for part in (3, 2, 0, 1) if differs[part]]
        label = f"{key[4]} ({', '.join(words)})" if words else key[4]
        host, data, site, architecture, objective = key
        groups.append(Group(host, data, site, architecture, objective, label, tuple(found)))
    return groups


def _match(a: Group, b: Group, vary: str) -> bool:
    """Whether two groups agree in site, architecture and objective but for what varies."""
    return all(getattr(a, key) == getattr(b, key) for key in ("site", "architecture", "objective") if key != vary)


def _findings(reference: Group, other: Group, measure: Measure) -> list[Finding]:
    obstacle = comparability.obstacles([*reference.rows, *other.rows])
    if obstacle:
        sentence = f"No ratio between {other.label} and {reference.label}: {obstacle}"
        return [Finding(reference.label, other.label, "all", None, sentence)]
    loss = MEASURES[measure]
    found = []
    for cost, name in COSTS.items():
        claim = f"At equal {loss}, {other.label} needs {{ratio}} times the {name} of {reference.label}"
        found.append(_finding(reference, other, (name, cost), (loss, measure), claim, ratio_at_equal))
    for cost, name in COSTS.items():
        claim = f"At equal {name}, {other.label} has {{ratio}} times the {loss} of {reference.label}"
        found.append(_finding(reference, other, (loss, measure), (name, cost), claim, loss_ratio))
    return found


def _finding(
    reference: Group,
    other: Group,
    compared: tuple[str, str],
    equal: tuple[str, str],
    claim: str,
    ratio: Callable[..., Ratio | Refusal],
) -> Finding:
    """The ratio of `compared` where `equal` is the same; both are (words, key)."""
    cost, measure = (compared[1], equal[1]) if compared[1] in COSTS else (equal[1], compared[1])
    a, b = reference.curve(cost, measure), other.curve(cost, measure)  # type: ignore[arg-type]
    quantity = f"{compared[1]} at equal {equal[1]}"
    obstacle = comparability.alive_obstacle([*reference.rows, *other.rows]) if cost == "alive" else None
    result = Refusal(obstacle.rstrip(".")) if obstacle else ratio(a, b, n=PLACES)
    if isinstance(result, Refusal):
        what = f"{compared[0]} at equal {equal[0]} between {other.label} and {reference.label}"
        sentence = f"No ratio of {what}: {result.reason}."
        return Finding(reference.label, other.label, quantity, None, sentence)
    low, high = show(result.at[0]), show(result.at[-1])
    where = f"at {equal[0]} {low}, the only value both cover"
    if len(result.at) > 1:
        spread = f"ratios {min(result.ratios):.3g} to {max(result.ratios):.3g}"
        where = f"mean over {len(result.at)} evenly spaced values of {equal[0]} from {low} to {high}, {spread}"
    sentence = f"{claim.format(ratio=f'{result.mean:.3g}')} ({where}). {_left_out(a, b)}{_budgets(reference, other)}"
    return Finding(reference.label, other.label, quantity, result.mean, sentence, result)


def _left_out(a: Curve, b: Curve) -> str:
    names = [point.name for curve in (a, b) for point in curve.dominated]
    return f"Off the Pareto front and not used: {', '.join(names)}. " if names else ""


def _budgets(reference: Group, other: Group) -> str:
    totals = {row.budget for row in (*reference.rows, *other.rows)}
    a, b = comparability.budgets(reference.rows), comparability.budgets(other.rows)
    if len(totals) == 1 and None not in totals:
        return f"Both trained on {a}." if a == b else f"Equal budgets: {reference.label} {a}, {other.label} {b}."
    return f"Budgets are not equal: {reference.label} trained on {a}; {other.label} on {b}."


def _group_json(group: Group, measure: Measure) -> dict[str, Any]:
    out: dict[str, Any] = {key: value for key, value in vars(group).items() if key != "rows"}
    out["dictionaries"] = [row.label for row in group.rows]
    curves = {cost: group.curve(cost, measure) for cost in COSTS}
    out["fronts"] = {cost: [asdict(point) for point in curve.front] for cost, curve in curves.items()}
    out["dominated"] = {cost: [point.name for point in curve.dominated] for cost, curve in curves.items()}
    return out


def _finding_json(finding: Finding) -> dict[str, Any]:
    out = {key: value for key, value in asdict(finding).items() if key != "values"}
    if finding.values is not None:
        out |= {"at": finding.values.at, "reference_values": finding.values.reference, "other_values": finding.values.other}
        out["ratios"] = finding.values.ratios
    return out


def _cell(value: object) -> str:
    if value is None:
        return "-"
    return show(value) if isinstance(value, (int, float)) else str(value)
