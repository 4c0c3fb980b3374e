"""The verb that explains the latents of a run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import tyro

from pellucid.cli.verb import Verb
from pellucid.core.config import narrowed
from pellucid.features.explanations.config import ExplainConfig


class Explain(Verb, ExplainConfig):
    """Explain latents in words or rules, and score the explanations on text that their explainer never saw.

    An endpoint's key is read from the environment variable that --endpoint.key-variable names; it is written nowhere.
    """

    run: tyro.conf.Positional[Path] = Path("runs/demo")
    """Run folder, with an index; explanations that were begun there are gone on with."""
    dictionary: tuple[str, ...] = ()
    """Dictionaries to explain (default: all of the run)."""
    replace: bool = False
    """Explain again where explanations are there already."""

    def perform(self) -> Any:
        from pellucid.features.explanations import explain_run

        settings = narrowed(ExplainConfig, self)
        return explain_run(self.run, settings, dictionaries=self.dictionary, replace=self.replace)
