"""Sparse dictionaries: one file per architecture, one registry, one file format."""

from pellucid.dictionaries.base import ArchitectureBase, Dictionary, Forward
from pellucid.dictionaries.batch_topk import BatchTopKConfig, BatchTopKDictionary
from pellucid.dictionaries.counters import FiringCounter
from pellucid.dictionaries.files import DictionaryHeader, load_dictionary, save_dictionary
from pellucid.dictionaries.gated import GatedConfig, GatedDictionary
from pellucid.dictionaries.jumprelu import JumpReluConfig, JumpReluDictionary
from pellucid.dictionaries.mode import inference
from pellucid.dictionaries.registry import ARCHITECTURES, AnyArchitecture, make_dictionary
from pellucid.dictionaries.relu import ReluConfig, ReluDictionary
from pellucid.dictionaries.topk import TopKConfig, TopKDictionary

__all__ = [
    "ARCHITECTURES",
    "AnyArchitecture",
    "ArchitectureBase",
    "BatchTopKConfig",
    "BatchTopKDictionary",
    "Dictionary",
    "DictionaryHeader",
    "FiringCounter",
    "Forward",
    "GatedConfig",
    "GatedDictionary",
    "JumpReluConfig",
    "JumpReluDictionary",
    "ReluConfig",
    "ReluDictionary",
    "TopKConfig",
    "TopKDictionary",
    "inference",
    "load_dictionary",
    "make_dictionary",
    "save_dictionary",
]
