"""Recurrent networks from a task or from data: ensembles trained side by side until one makes no error."""

from pellucid.programs.ensembles.config import TrainingConfig
from pellucid.programs.ensembles.fit import Trained, train

__all__ = ["Trained", "TrainingConfig", "train"]
