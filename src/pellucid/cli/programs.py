"""Verbs that turn recurrent networks into programs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pellucid.cli.verb import Verb
from pellucid.programs.options import BenchOptions, DistillOptions


class Distill(Verb, DistillOptions):
    """Turn a recurrent network, trained here or given, into a verified Python program."""

    out: Path = Path("runs/program")
    """Folder for program.py, summary.json and the automaton."""

    def perform(self) -> Any:
        from pellucid.programs.job import distill_to

        return distill_to(self, self.out)


class BenchMips(Verb, BenchOptions):
    """Distil the 62 tasks of MIPS and write a page with every program."""

    out: Path = Path("runs/mips")
    """Folder for results.json, index.html and a folder for each task."""

    def perform(self) -> Any:
        from pellucid.programs.bench import bench

        return bench(self, self.out)
