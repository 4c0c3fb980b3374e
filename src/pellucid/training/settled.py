"""What a fit settles by measurement at its start; it is kept in its provenance, so that a resume goes on with the same sums."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pellucid.core import files
from pellucid.hosts import Host
from pellucid.training import kernels, memory
from pellucid.training.config import FitConfig
from pellucid.training.distributed import Alone
from pellucid.training.learner import Learner
from pellucid.training.stacked import Stack
from pellucid.training.stacking import make_stacks


@dataclass(frozen=True)
class Settled:
    """How the updates of a fit are computed."""

    kernels: dict[str, str]
    """Form of the sparse kernels of each dictionary of the fit."""
    stacks: list[Stack]
    """Dictionaries updated together."""
    logits_mb: int
    """MiB of logits made at once."""

    def record(self) -> dict[str, Any]:
        """Return what a resume needs to know."""
        stacked = [[learner.name for learner in stack.learners] for stack in self.stacks]
        return {"kernels": self.kernels, "stacked": stacked, "logits_mb": self.logits_mb}


def settle(
    config: FitConfig,
    run: Path,
    host: Host,
    learners: Sequence[Learner],
    group: Alone,
    limit: memory.Limit,
    positions: int,
    steps: int,
) -> Settled:
    """Give every dictionary the kernels it trains with, stack those that are faster together, and check the memory.

    `positions` are the tokens of an update, `steps` the updates of the fit. What an earlier part of this fit used, if any,
    is used again. Rank 0 measures for all, because other kernels round otherwise. Raises ConfigError if nothing fits.
    """
    before = group.on_first(lambda: _kept(run))

    def forms() -> dict[str, str]:
        known = (before or {}).get("kernels", {})
        return {**known, **kernels.settle(learners, positions, config.kernels, known)}

    own = kernels.settle(learners, positions, config.kernels, group.on_first(forms))
    lines = group.gather_lines([{"dictionary": name, "kernels": form} for name, form in own.items()])
    found = {line["dictionary"]: line["kernels"] for line in lines}
    stacks = make_stacks(config, learners, positions, steps, before.get("stacked", []) if before else None)
    return Settled(found, stacks, _logits(config, before or {}, host, learners, stacks, group, limit, positions))


def _kept(run: Path) -> dict[str, Any] | None:
    """Return what an earlier part of the fit wrote; None if there was none."""
    written = run / "provenance.json"
    return files.read_json(written) if written.exists() else None


def _logits(
    config: FitConfig,
    before: dict[str, Any],
    host: Host,
    learners: Sequence[Learner],
    stacks: Sequence[Stack],
    group: Alone,
    limit: memory.Limit,
    positions: int,
) -> int:
    """Return the MiB of logits made at once: at most those of an earlier part of this fit; ConfigError if nothing fits."""
    most = min(config.logits_mb, before.get("logits_mb", config.logits_mb))
    found = group.on_first(lambda: memory.announce(host, learners, positions, limit, most, stacks))
    if not group.writes:
        limit.refuse(memory.estimate(host, learners, positions, found, stacks))
    return found
