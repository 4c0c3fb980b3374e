"""Verbs that read finished runs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import tyro

from pellucid.cli.verb import Verb


class Evaluate(Verb):
    """Score a finished run again on held-out data."""

    run: tyro.conf.Positional[Path] = Path("runs/demo")
    """Run folder."""
    rows: int | None = None
    """Held-out rows (default: as the run's config says)."""

    def perform(self) -> Any:
        from pellucid.job import evaluate

        return evaluate(self.run, rows=self.rows)


class Compare(Verb):
    """Compare runs: Pareto fronts, and how many active latents each objective needs at equal CE increase."""

    runs: tyro.conf.Positional[tuple[Path, ...]] = ()
    """Run folders."""
    reference: str = "local"
    """Objective the others are compared with."""
    out: Path | None = None
    """Write the comparison as a page to this file."""

    def perform(self) -> Any:
        from pellucid.evaluation.compare import compare
        from pellucid.web import write_comparison

        comparison = compare(list(self.runs), reference=self.reference)
        if self.out is not None:
            write_comparison(comparison, self.out)
        return comparison if not self.json_ else comparison.to_json()


class Report(Verb):
    """Write RUN/report.html: one file that opens offline."""

    run: tyro.conf.Positional[Path] = Path("runs/demo")
    """Run folder."""
    others: tuple[Path, ...] = ()
    """Runs shown beside it."""

    def perform(self) -> Any:
        from pellucid.web import write_report

        return {"report": str(write_report(self.run, list(self.others)))}
