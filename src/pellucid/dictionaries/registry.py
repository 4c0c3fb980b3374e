"""Architectures by name; a new one is one file and one line here."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Union

import torch
from jaxtyping import Float
from pydantic import BeforeValidator, Field
from torch import Tensor

from pellucid.core.errors import ConfigError, did_you_mean
from pellucid.dictionaries.archetypal import ArchetypalDictionary
from pellucid.dictionaries.base import LARGEST, ArchitectureBase, Dictionary
from pellucid.dictionaries.batch_topk import BatchTopKDictionary
from pellucid.dictionaries.codebook import CodebookDictionary
from pellucid.dictionaries.discrete import DiscreteDictionary
from pellucid.dictionaries.gated import GatedDictionary
from pellucid.dictionaries.gba import GbaDictionary
from pellucid.dictionaries.jumprelu import JumpReluDictionary
from pellucid.dictionaries.matching_pursuit import MatchingPursuitDictionary
from pellucid.dictionaries.matryoshka import MatryoshkaDictionary
from pellucid.dictionaries.p_anneal import GatedPAnnealDictionary, PAnnealDictionary
from pellucid.dictionaries.relu import ReluDictionary
from pellucid.dictionaries.threshold import ThresholdDictionary
from pellucid.dictionaries.top_afa import TopAfaDictionary
from pellucid.dictionaries.topk import TopKDictionary

ARCHITECTURES: dict[str, type[Dictionary]] = {
    "relu": ReluDictionary,
    "topk": TopKDictionary,
    "batch_topk": BatchTopKDictionary,
    "gated": GatedDictionary,
    "jumprelu": JumpReluDictionary,
    "matryoshka": MatryoshkaDictionary,
    "p_anneal": PAnnealDictionary,
    "gated_p_anneal": GatedPAnnealDictionary,
    "top_afa": TopAfaDictionary,
    "gba": GbaDictionary,
    "matching_pursuit": MatchingPursuitDictionary,
    "archetypal": ArchetypalDictionary,
    "threshold": ThresholdDictionary,
    "codebook": CodebookDictionary,
    "discrete": DiscreteDictionary,
}
"""Name -> class; the name is the config's `kind`."""


def _known_kind(values: Any) -> Any:
    kind = values.get("kind") if isinstance(values, dict) else getattr(values, "kind", None)
    if kind not in ARCHITECTURES:
        raise ValueError(_unknown(kind))
    return values


def _unknown(kind: object) -> str:
    known = ", ".join(repr(name) for name in ARCHITECTURES)
    return f"unknown architecture {kind!r}.{did_you_mean(str(kind), ARCHITECTURES)} Known: {known}"


if TYPE_CHECKING:
    AnyArchitecture = ArchitectureBase
else:
    AnyArchitecture = Annotated[
        Union[tuple(cls.Config for cls in ARCHITECTURES.values())],  # noqa: UP007 - built from the registry
        Field(discriminator="kind"),
        BeforeValidator(_known_kind),
    ]
    """Config field type: the config of any registered architecture, told apart by `kind`."""


def make_dictionary(
    config: ArchitectureBase,
    d_in: int,
    generator: torch.Generator | None = None,
    sample: Float[Tensor, "n d"] | None = None,
) -> Dictionary:
    """Make a dictionary for a site of width d_in, in float32 on the CPU, with its starting values, in training mode.

    The same config, generator state and sample give the same bytes. `sample` (activations of the site) is needed by
    the `bias_init` rules that look at data. Without a generator torch's global one is used.
    Raises ConfigError if the architecture is unknown, the width impossible, or a sample is needed and missing.
    """
    dictionary = empty_dictionary(config, d_in)
    dictionary.initialise(generator, sample)
    return dictionary


def empty_dictionary(config: ArchitectureBase, d_in: int) -> Dictionary:
    """Make a dictionary of the config's architecture with all parameters zero; ConfigError as in `make_dictionary`."""
    kind = getattr(config, "kind", None)
    if kind not in ARCHITECTURES:
        raise ConfigError(_unknown(kind))
    if not 1 <= d_in <= LARGEST:
        raise ConfigError(f"d_in is {d_in}, wanted a site width between 1 and {LARGEST}")
    return ARCHITECTURES[kind](config, d_in)
