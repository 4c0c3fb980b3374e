"""Rules by name, and regimes: planted data worth having a name. A new one of either is a line here."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Union

from pydantic import Field

from pellucid.data.planted.base import AtomRule, CoefficientRule, FiringRule
from pellucid.data.planted.circles import Circles
from pellucid.data.planted.coefficients import HeavyTailed, Uniform
from pellucid.data.planted.correlated import Correlated
from pellucid.data.planted.decaying import Decaying
from pellucid.data.planted.directions import Directions
from pellucid.data.planted.hierarchy import Hierarchy
from pellucid.data.planted.independent import Independent
from pellucid.data.planted.superposition import Superposition

FIRINGS: tuple[type[FiringRule], ...] = (Independent, Decaying, Correlated, Hierarchy)
COEFFICIENTS: tuple[type[CoefficientRule], ...] = (Uniform, HeavyTailed)
ATOMS: tuple[type[AtomRule], ...] = (Directions, Circles, Superposition)

if TYPE_CHECKING:
    AnyFiring = FiringRule
    AnyCoefficients = CoefficientRule
    AnyAtoms = AtomRule
else:
    AnyFiring = Annotated[Union[FIRINGS], Field(discriminator="kind")]  # noqa: UP007 - built from the registry
    AnyCoefficients = Annotated[Union[COEFFICIENTS], Field(discriminator="kind")]  # noqa: UP007
    AnyAtoms = Annotated[Union[ATOMS], Field(discriminator="kind")]  # noqa: UP007

REGIMES: dict[str, dict[str, Any]] = {
    "independent": {},
    "hierarchy": {"firing": {"kind": "hierarchy", "active": 2.0}},
    "interference": {"n_features": 128, "width": 16, "firing": {"kind": "independent", "active": 2.0}},
    "heavy_tailed": {
        "firing": {"kind": "correlated", "active": 3.0, "decay": 0.97},
        "coefficients": {"kind": "heavy_tailed"},
        "noise": 0.02,
    },
    "circles": {
        "n_features": 32,
        "atoms": {"kind": "circles", "n_circles": 8},
        "firing": {"active": 2.0, "kind": "independent"},
    },
    "superposition": {"atoms": {"kind": "superposition"}, "firing": {"kind": "decaying", "rescaled": True, "active": 3.0}},
    "sharkey": {
        "n_features": 512,
        "width": 256,
        "firing": {"kind": "correlated", "per": "block"},
        "coefficients": {"kind": "uniform", "low": 0.0, "high": 1.0},
        "fill_empty": True,
    },
}
"""What differs from the defaults of `PlantedConfig`, by name of the regime."""
