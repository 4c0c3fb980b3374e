"""Settings of a distillation."""

from __future__ import annotations

from pydantic import Field

from pellucid.core.config import Config


class DistillConfig(Config):
    """How hard to look for a program; the same for every network."""

    sequences: int = Field(2000, ge=100)
    """Random sequences of the training length that the network is asked about."""
    max_states: int = Field(300, ge=1)
    """States an automaton may have."""
    seconds: float = Field(40.0, gt=0)
    """CPU time for searching, over all roads; a road gets at most a third of it."""
    max_network_errors: float = Field(0.05, ge=0, le=1)
    """Share of outputs that the network may get wrong before it counts as not having learnt the task."""
    seed: int = 0
    """Of the random sequences."""
