"""Dictionaries that go back to an earlier state after a faulty update."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pellucid.core.logging import log
from pellucid.training import checkpoint
from pellucid.training.distributed import Alone
from pellucid.training.learner import Learner
from pellucid.training.spikes import SpikeConfig


def settle_faults(lines: list[dict[str, Any]], learners: Sequence[Learner], group: Alone, folder: Path) -> list[dict[str, Any]]:
    """Log the dropped updates among the lines of a step, and take dictionaries back whose policy is rewind.

    Returns the lines of the fit's dropped updates, on every rank. FileFormatError if the checkpoint to go back to is damaged.
    """
    if not any(learner.watch.drops for learner in learners):
        return []
    events = group.everyone([line for line in lines if "event" in line])
    for event in events:
        what = f"{event['dictionary']} goes back to step {event['back_to']}" if "back_to" in event else "the update is skipped"
        log.warning("%s (%s)", event["why"], what)
    back = {event["dictionary"]: event["back_to"] for event in events if "back_to" in event}
    for step in sorted(set(back.values())):
        state = group.spread(lambda step=step: checkpoint.load_step(folder, step))  # type: ignore[misc]
        assert state is not None
        for learner in learners:
            if back.get(learner.name) == step:
                learner.go_back((state[0], state[1]["learners"]))
    return events


def is_point(config: SpikeConfig, step: int) -> bool:
    """True if dictionaries may have to go back to this step."""
    return config.action == "rewind" and step % config.rewind_steps == 0


def points(config: SpikeConfig, kept: Sequence[int]) -> set[int]:
    """Return the steps that fits which go on from these steps may have to go back to."""
    return {step - step % config.rewind_steps for step in kept} if config.action == "rewind" else set()
