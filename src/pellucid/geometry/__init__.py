"""Features that are not one direction, and what different networks have in common."""

from pellucid.geometry.matching import Partners, correlations, one_to_one, semi_matching
from pellucid.geometry.merging import Merged, complexity, merge_features
from pellucid.geometry.prediction import sparse_prediction
from pellucid.geometry.spectral import shared_subspaces

__all__ = [
    "Merged",
    "Partners",
    "complexity",
    "correlations",
    "merge_features",
    "one_to_one",
    "semi_matching",
    "shared_subspaces",
    "sparse_prediction",
]
