"""From finished cells to what the page says."""

from __future__ import annotations

from typing import Any

from pellucid.core.logging import finite
from pellucid.evaluation.bench.beds import BEDS, EASIEST, make_bed
from pellucid.evaluation.bench.budgets import budget
from pellucid.evaluation.bench.findings import findings
from pellucid.evaluation.bench.options import DictionaryBenchOptions
from pellucid.evaluation.bench.table import MEASURES, Entry, entry, winners

ENOUGH = 0.9
"""Share of its best tuned recovery that an architecture's defaults are to reach on the easiest bed."""


def summarise(
    cells: list[dict[str, Any]], options: DictionaryBenchOptions, total: int, left_out: list[tuple[str, str, str]]
) -> dict[str, Any]:
    """Return tables, winners, defaults and verdicts as JSON values; `left_out` are (architecture, bed, why)."""
    table: dict[str, dict[str, Entry]] = {}
    budgets: dict[str, dict[str, Any]] = {}
    for name in [bed for bed in BEDS if any(cell["bed"] == bed for cell in cells)]:
        bed = make_bed(name, options)
        usable = [cell for cell in cells if cell["bed"] == name and "failed" not in cell]
        table[name] = {cell["architecture"]: entry(cell, bed.target_l0) for cell in usable}
        keys = ("n_latents", "target_l0", "tokens", "batch_rows", "lr", "seeds", "rows")
        settings = {"settings": bed.levels + len(bed.refined)}
        budgets[name] = {key: getattr(bed, key) for key in keys} | settings
    return finite(
        {
            "finished": len(cells),
            "total": total,
            "budget": budget(options).words,
            "budgets": budgets,
            "tables": {bed: {kind: vars(found) for kind, found in rows.items()} for bed, rows in table.items()},
            "winners": {
                bed: {m: won for m in MEASURES if (won := winners(list(rows.values()), m))} for bed, rows in table.items()
            },
            "defaults": _defaults(table.get(EASIEST, {})),
            "findings": [vars(found) for found in findings(table)],
            "left_out": [{"architecture": kind, "bed": bed, "reason": why} for kind, bed, why in left_out],
            "failed": [cell for cell in cells if "failed" in cell],
            "cells": [cell for cell in cells if "failed" not in cell],
        }
    )


def _defaults(rows: dict[str, Entry]) -> dict[str, dict[str, Any]]:
    """Return each architecture's recovery at its defaults as a share of its best."""
    found = {}
    for kind, row in rows.items():
        if row.default_mcs is not None and row.best_mcs:
            share = row.default_mcs / max(row.best_mcs, row.default_mcs)
            found[kind] = {"default": row.default_mcs, "best": row.best_mcs, "share": share, "enough": share >= ENOUGH}
    return found
