"""The verb that changes features while the host runs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import tyro

from pellucid.cli.verb import Verb


class Steer(Verb):
    """Change a feature of a run and see what moves: next-token probabilities, a generation, a dose-response curve."""

    run: tyro.conf.Positional[Path] = Path("runs/demo")
    """Run folder."""
    dictionary: str = ""
    """Dictionary of the latent; may be left out where the run has one."""
    latent: int | None = None
    """Latent to change; several changes together come from --edits."""
    operation: str = "add"
    """add, set, scale, ablate_zero, ablate_mean or ablate_direction."""
    value: float | None = None
    """Strength of add, code of set, factor of scale."""
    relative: bool = False
    """With add: count the value in lengths of what the site holds."""
    positions: str = "all"
    """all, prompt, last, from_end, fires, a slice like 2:6, or indices like 3,5,-1."""
    prompt: str = "The function returns"
    """Text to continue."""
    edits: Path | None = None
    """YAML file with a key `edits`: a list with the settings above, or site and direction for a vector."""
    max_new_tokens: int = 32
    """Length of the generation."""
    temperature: float = 0.0
    """0 takes the likeliest token; above 0 draws."""
    dose_response: bool = False
    """Also measure a curve over strengths on the run's held-out text."""
    seed: int = 0
    """Seed of what is drawn."""

    def perform(self) -> Any:
        from pellucid.core import config as configs
        from pellucid.core.errors import ConfigError
        from pellucid.features.steering import Edit, read_edits, steer

        if (self.latent is None) == (self.edits is None):
            raise ConfigError("name what to change: --latent N with its --operation and --value, or --edits FILE.yaml")
        if self.edits is not None:
            edits = read_edits(self.edits)
        else:
            names = ("dictionary", "latent", "operation", "value", "relative", "positions")
            edits = [configs.build(Edit, {name: getattr(self, name) for name in names}, where="the flags")]
        report = steer(
            self.run,
            self.prompt,
            edits,
            max_new_tokens=self.max_new_tokens,
            temperature=self.temperature,
            curve=self.dose_response,
            seed=self.seed,
        )
        return report.to_json() if self.json_ else report
