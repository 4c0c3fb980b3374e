"""Fitting dictionaries: objectives, the loop, schedules and checkpoints."""

from pellucid.training.config import DictionaryConfig, EvaluationConfig, FitConfig
from pellucid.training.folder import run_config
from pellucid.training.objectives import EndToEnd, EndToEndDownstream, Evidence, Local, Objective
from pellucid.training.trainer import fit, is_finished

__all__ = [
    "DictionaryConfig",
    "EndToEnd",
    "EndToEndDownstream",
    "EvaluationConfig",
    "Evidence",
    "FitConfig",
    "Local",
    "Objective",
    "fit",
    "is_finished",
    "run_config",
]
