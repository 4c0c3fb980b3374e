"""The verb that indexes the features of a run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import tyro

from pellucid.cli.verb import Verb
from pellucid.features.index.config import IndexConfig


class Index(Verb, IndexConfig):
    """Index what every latent of a run does: statistics, examples, neighbours and effects, in one pass over the text."""

    run: tyro.conf.Positional[Path] = Path("runs/demo")
    """Run folder; an unfinished index there is gone on with."""
    replace: bool = False
    """Make the index anew where there is one already."""

    def perform(self) -> Any:
        from pellucid.job import index

        settings = IndexConfig(**{name: getattr(self, name) for name in IndexConfig.model_fields})
        made = index(self.run, settings, replace=self.replace)
        return {"index": str(made.folder), "rows": made.manifest["rows"], "tokens": made.manifest["tokens"]}
