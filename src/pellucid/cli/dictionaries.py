"""Verbs about dictionaries that start from no run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pellucid.cli.verb import Verb
from pellucid.evaluation.bench.options import DictionaryBenchOptions


class BenchDictionaries(Verb, DictionaryBenchOptions):
    """Train every architecture on planted data and on a host, tuned alike, and write a page of them at equal L0.

    The same command goes on where it was stopped; finished cells are kept.
    """

    out: Path = Path("runs/dictionaries")
    """Folder for results.json, index.html, results.md and the cells."""

    def perform(self) -> Any:
        from pellucid.evaluation.bench.run import bench_dictionaries

        return bench_dictionaries(self, self.out)
