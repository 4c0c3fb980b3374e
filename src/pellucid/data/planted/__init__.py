"""Planted data: rows whose sparse features are known."""

from pellucid.data.planted.base import AtomRule, CoefficientRule, FiringRule
from pellucid.data.planted.circles import Circles
from pellucid.data.planted.coefficients import HeavyTailed, Uniform
from pellucid.data.planted.correlated import Correlated
from pellucid.data.planted.decaying import Decaying
from pellucid.data.planted.directions import Directions
from pellucid.data.planted.hierarchy import Hierarchy
from pellucid.data.planted.independent import Independent
from pellucid.data.planted.registry import ATOMS, COEFFICIENTS, FIRINGS, REGIMES
from pellucid.data.planted.source import Planted, PlantedConfig, PlantedData, regime
from pellucid.data.planted.superposition import Superposition, Toy, ToyConfig, train_toy

__all__ = [
    "ATOMS",
    "COEFFICIENTS",
    "FIRINGS",
    "REGIMES",
    "AtomRule",
    "Circles",
    "CoefficientRule",
    "Correlated",
    "Decaying",
    "Directions",
    "FiringRule",
    "HeavyTailed",
    "Hierarchy",
    "Independent",
    "Planted",
    "PlantedConfig",
    "PlantedData",
    "Superposition",
    "Toy",
    "ToyConfig",
    "Uniform",
    "regime",
    "train_toy",
]
