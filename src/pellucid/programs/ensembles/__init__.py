"""Recurrent networks from a task or from data: ensembles trained side by side until one makes no error."""

from pellucid.programs.ensembles.config import TrainingConfig
from pellucid.programs.ensembles.fit import Trained, train
from pellucid.programs.ensembles.saved import train_in

__all__ = ["Trained", "TrainingConfig", "train", "train_in"]
