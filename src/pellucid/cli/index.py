"""The verb that indexes the features of a run."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import tyro

from pellucid.cli.verb import Verb
from pellucid.core.config import narrowed
from pellucid.features.index.config import IndexConfig

if TYPE_CHECKING:
    from pellucid.features.index import Index as Made


class Index(Verb, IndexConfig):
    """Index what every latent of a run does: statistics, examples, neighbours and effects, in one pass over the text."""

    run: tyro.conf.Positional[Path] = Path("runs/demo")
    """Run folder; an unfinished index there is gone on with."""
    replace: bool = False
    """Make the index anew where there is one already."""

    def perform(self) -> Any:
        from pellucid.job import index

        settings = narrowed(IndexConfig, self)
        made = index(self.run, settings, replace=self.replace)
        found = {"index": str(made.folder), "rows": made.manifest["rows"], "tokens": made.manifest["tokens"]}
        counts = {name: _counts(made, name) for name in made.dictionaries}
        if self.json_:
            return {**found, "latents": counts}
        lines = {
            name: f"{n['latents']} latents, {n['firing']} fire, {n['ablated']} ablated, {n['examples']} examples"
            for name, n in counts.items()
        }
        return {**found, **lines, "next": f"pellucid explore {self.run}, or pellucid explain {self.run}"}


def _counts(made: Made, name: str) -> dict[str, int]:
    """Return how many latents a dictionary has, how many fire and were ablated, and how many examples are shown."""
    table = made.latents(name, ["firings", "effect_positions"]).to_pydict()
    return {
        "latents": made.n_latents(name),
        "firing": sum(n > 0 for n in table["firings"]),
        "ablated": sum(n > 0 for n in table["effect_positions"]),
        "examples": made.n_examples(name),
    }
