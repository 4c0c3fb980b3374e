"""Verbs that start from nothing: fetch a host, run the demo."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import tyro

from pellucid.cli.verb import Verb


class Demo(Verb):
    """Run the main job on SmolLM2 in minutes: local against end-to-end dictionaries, with a report."""

    out: Path = Path("runs/demo")
    """Run folder; an unfinished demo there is resumed."""
    smallest: bool = False
    """Only check that everything works, in about a minute; the numbers say nothing."""

    def perform(self) -> Any:
        from pellucid.demo import demo

        return demo(self.out, smallest=self.smallest)


class Get(Verb):
    """Fetch a host of the catalogue, check it, convert it and keep it in the cache."""

    name: tyro.conf.Positional[str] = "smollm2"
    """Name in the catalogue."""

    def perform(self) -> Any:
        from pellucid.hosts.catalogue import get

        return {"name": self.name, "path": str(get(self.name))}
