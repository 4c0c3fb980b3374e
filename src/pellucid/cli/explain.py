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
        found = explain_run(self.run, settings, dictionaries=self.dictionary, replace=self.replace)
        if self.json_:
            return found
        lines = {name: _described(summary) for name, summary in found["explained"].items()}
        return {"explainer": found["explainer"], **lines, "next": f"pellucid explore {self.run}"}


def _described(summary: dict[str, Any]) -> str:
    """Return in words how many latents of a dictionary were explained, and each score's mean with its interval and control."""
    rare = f", {summary['latents_too_rare']} fire too rarely" if summary["latents_too_rare"] else ""
    scores = [f"{name} {_mean(figures)}" for name, figures in summary["scores"].items()]
    return "; ".join([f"{summary['latents_explained']} latents explained{rare}", *scores])


def _mean(figures: dict[str, Any]) -> str:
    chance = "" if figures["shuffled"] is None else f", permuted {figures['shuffled']['mean']:.3f}"
    return f"{figures['mean']:.3f} [{figures['low']:.3f}, {figures['high']:.3f}]{chance}"
