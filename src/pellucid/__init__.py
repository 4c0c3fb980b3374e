"""Take a neural network apart into pieces a person can read."""

from pellucid.core.errors import PellucidError
from pellucid.data import TensorData, TextConfig, load_text
from pellucid.dictionaries import ReluConfig, TopKConfig, load_dictionary
from pellucid.hosts import Host, Site
from pellucid.job import evaluate, fit
from pellucid.training import DictionaryConfig, EndToEnd, EndToEndDownstream, EvaluationConfig, FitConfig, Local

__version__ = "0.1.0"

__all__ = [
    "DictionaryConfig",
    "EndToEnd",
    "EndToEndDownstream",
    "EvaluationConfig",
    "FitConfig",
    "Host",
    "Local",
    "PellucidError",
    "ReluConfig",
    "Site",
    "TensorData",
    "TextConfig",
    "TopKConfig",
    "evaluate",
    "fit",
    "load_dictionary",
    "load_text",
]
