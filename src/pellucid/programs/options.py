"""What the verbs of this room take."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field

from pellucid.core.config import Config
from pellucid.programs.config import DistillConfig
from pellucid.programs.ensembles.config import TrainingConfig


class DistillOptions(Config):
    """What a distillation starts from, and its settings."""

    task: str | None = None
    """Name of one of the 62 tasks, or a Python file that defines LOW, HIGH, LENGTH, WIDTH and outputs(xs)."""
    data: Path | None = None
    """Sequences in a CSV, JSONL or NPZ file."""
    network: Path | None = None
    """Folder of a recurrent network (save_network, or save_torch_network for nn.RNN, nn.GRU and nn.LSTM); alone, or with
    --task or --data to hold it against."""
    low: int | None = None
    """Smallest input of a network that is given alone."""
    high: int | None = None
    """Largest input of a network that is given alone."""
    length: int = 10
    """Training length of a network that is given alone."""
    training: TrainingConfig = Field(default_factory=TrainingConfig)
    """How networks are trained."""
    search: DistillConfig = Field(default_factory=DistillConfig)
    """How a program is looked for."""


class BenchOptions(Config):
    """What is run, and how."""

    tasks: tuple[str, ...] = ()
    """Names or task files (default: all 62 tasks)."""
    resume: bool = False
    """Keep the tasks that are finished in the folder; without it a folder with results is refused."""
    limit: float = Field(900.0, gt=0)
    """Seconds that one task may take."""
    workers: int = Field(2, ge=1)
    """Tasks that run side by side."""
    training_seconds: float = Field(240.0, gt=0)
    """CPU seconds that training one task may take."""
