"""Sparse dictionaries: one file per architecture, one registry, one file format."""

from pellucid.dictionaries.archetypal import ArchetypalConfig, ArchetypalDictionary
from pellucid.dictionaries.atomic import atomic_metric, atomic_product
from pellucid.dictionaries.base import ArchitectureBase, Dictionary, Forward
from pellucid.dictionaries.batch_topk import BatchTopKConfig, BatchTopKDictionary
from pellucid.dictionaries.codebook import CodebookConfig, CodebookDictionary
from pellucid.dictionaries.counters import FiringCounter
from pellucid.dictionaries.discrete import DiscreteConfig, DiscreteDictionary
from pellucid.dictionaries.files import DictionaryHeader, load_dictionary, save_dictionary
from pellucid.dictionaries.gated import GatedConfig, GatedDictionary
from pellucid.dictionaries.gba import GbaConfig, GbaDictionary
from pellucid.dictionaries.gradient import GradientConfig, GradientDictionary
from pellucid.dictionaries.jumprelu import JumpReluConfig, JumpReluDictionary
from pellucid.dictionaries.latent_quantization import LatentQuantizationConfig, LatentQuantizationDictionary
from pellucid.dictionaries.matching_pursuit import MatchingPursuitConfig, MatchingPursuitDictionary
from pellucid.dictionaries.matryoshka import MatryoshkaConfig, MatryoshkaDictionary
from pellucid.dictionaries.mode import inference
from pellucid.dictionaries.p_anneal import GatedPAnnealConfig, GatedPAnnealDictionary, PAnnealConfig, PAnnealDictionary
from pellucid.dictionaries.registry import ARCHITECTURES, AnyArchitecture, make_dictionary, register
from pellucid.dictionaries.relu import ReluConfig, ReluDictionary
from pellucid.dictionaries.snmf import SnmfConfig, SnmfDictionary, factorised
from pellucid.dictionaries.threshold import ThresholdConfig, ThresholdDictionary
from pellucid.dictionaries.top_afa import TopAfaConfig, TopAfaDictionary
from pellucid.dictionaries.topk import TopKConfig, TopKDictionary
from pellucid.dictionaries.transcoder import (
    SkipTranscoderConfig,
    SkipTranscoderDictionary,
    TranscoderConfig,
    TranscoderDictionary,
)

__all__ = [
    "ARCHITECTURES",
    "AnyArchitecture",
    "ArchetypalConfig",
    "ArchetypalDictionary",
    "ArchitectureBase",
    "BatchTopKConfig",
    "BatchTopKDictionary",
    "CodebookConfig",
    "CodebookDictionary",
    "Dictionary",
    "DictionaryHeader",
    "DiscreteConfig",
    "DiscreteDictionary",
    "FiringCounter",
    "Forward",
    "GatedConfig",
    "GatedDictionary",
    "GatedPAnnealConfig",
    "GatedPAnnealDictionary",
    "GbaConfig",
    "GbaDictionary",
    "GradientConfig",
    "GradientDictionary",
    "JumpReluConfig",
    "JumpReluDictionary",
    "LatentQuantizationConfig",
    "LatentQuantizationDictionary",
    "MatchingPursuitConfig",
    "MatchingPursuitDictionary",
    "MatryoshkaConfig",
    "MatryoshkaDictionary",
    "PAnnealConfig",
    "PAnnealDictionary",
    "ReluConfig",
    "ReluDictionary",
    "SkipTranscoderConfig",
    "SkipTranscoderDictionary",
    "SnmfConfig",
    "SnmfDictionary",
    "ThresholdConfig",
    "ThresholdDictionary",
    "TopAfaConfig",
    "TopAfaDictionary",
    "TopKConfig",
    "TopKDictionary",
    "TranscoderConfig",
    "TranscoderDictionary",
    "atomic_metric",
    "atomic_product",
    "factorised",
    "inference",
    "load_dictionary",
    "make_dictionary",
    "register",
    "save_dictionary",
]
