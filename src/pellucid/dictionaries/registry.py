"""Architectures by name; a new one is one file and one line here, or `register` from outside the package."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import torch
from jaxtyping import Float
from pydantic import BeforeValidator, SerializeAsAny
from torch import Tensor

from pellucid.core.errors import ConfigError, did_you_mean, raise_all
from pellucid.dictionaries.archetypal import ArchetypalDictionary
from pellucid.dictionaries.base import LARGEST, ArchitectureBase, Dictionary
from pellucid.dictionaries.batch_topk import BatchTopKDictionary
from pellucid.dictionaries.codebook import CodebookDictionary
from pellucid.dictionaries.directions import start_directions
from pellucid.dictionaries.discrete import DiscreteDictionary
from pellucid.dictionaries.gated import GatedDictionary
from pellucid.dictionaries.gba import GbaDictionary
from pellucid.dictionaries.gradient import GradientDictionary
from pellucid.dictionaries.jumprelu import JumpReluDictionary
from pellucid.dictionaries.latent_quantization import LatentQuantizationDictionary
from pellucid.dictionaries.matching_pursuit import MatchingPursuitDictionary
from pellucid.dictionaries.matryoshka import MatryoshkaDictionary
from pellucid.dictionaries.p_anneal import GatedPAnnealDictionary, PAnnealDictionary
from pellucid.dictionaries.plugins import load_installed
from pellucid.dictionaries.relu import ReluDictionary
from pellucid.dictionaries.snmf import SnmfDictionary
from pellucid.dictionaries.threshold import ThresholdDictionary
from pellucid.dictionaries.top_afa import TopAfaDictionary
from pellucid.dictionaries.topk import TopKDictionary
from pellucid.dictionaries.transcoder import SkipTranscoderDictionary, TranscoderDictionary

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
    "gradient": GradientDictionary,
    "latent_quantization": LatentQuantizationDictionary,
    "snmf": SnmfDictionary,
    "transcoder": TranscoderDictionary,
    "skip_transcoder": SkipTranscoderDictionary,
}
"""Name -> class; the name is the config's `kind`."""


D = TypeVar("D", bound=type[Dictionary])


def register(cls: D) -> D:
    """Add an architecture under its `kind`: a decorator for classes outside the package; return the class.

    From then on its config is accepted wherever architectures are: in fits, files, the command line's help and the benchmark.
    Registering the same class again changes nothing. Raises ConfigError listing what is wrong: another class has the name,
    or the config has another `kind`, is no `ArchitectureBase` or has a setting without its sentence.
    """
    kind, config = getattr(cls, "kind", None), getattr(cls, "Config", None)
    problems = [] if isinstance(kind, str) and kind else [f"{cls.__name__}.kind is {kind!r}, wanted a name"]
    if not (isinstance(config, type) and issubclass(config, ArchitectureBase)):
        problems.append(f"{cls.__name__}.Config is {config!r}, wanted a subclass of ArchitectureBase")
    else:
        field = config.model_fields.get("kind")
        if field is None or field.default != kind:
            problems.append(f'{config.__name__} lacks the field  kind: Literal["{kind}"] = "{kind}"')
        problems += [
            f"{config.__name__}.{name} has no docstring" for name, f in config.model_fields.items() if not f.description
        ]
    found = ARCHITECTURES.get(str(kind), cls)
    if found is not cls and (found.__module__, found.__qualname__) != (cls.__module__, cls.__qualname__):
        problems.append(f"'{kind}' is {found.__module__}.{found.__qualname__} already; choose another name")
    raise_all(problems, ConfigError)
    ARCHITECTURES[str(kind)] = cls
    return cls


def is_known(kind: object) -> bool:
    """Whether an architecture has this name; installed packages are asked once if none has."""
    return kind in ARCHITECTURES or (load_installed() and kind in ARCHITECTURES)


def _resolved(values: Any) -> Any:
    """Return the config of the named kind from plain values; its own complaints keep their places."""
    kind = values.get("kind") if isinstance(values, dict) else getattr(values, "kind", None)
    if not is_known(kind):
        raise ValueError(_unknown(kind))
    return ARCHITECTURES[str(kind)].Config.model_validate(values)


def _unknown(kind: object) -> str:
    known = ", ".join(repr(name) for name in ARCHITECTURES)
    return f"unknown architecture {kind!r}.{did_you_mean(str(kind), ARCHITECTURES)} Known: {known}"


if TYPE_CHECKING:
    AnyArchitecture = ArchitectureBase
else:
    AnyArchitecture = Annotated[SerializeAsAny[ArchitectureBase], BeforeValidator(_resolved)]
    """Config field type: the config of any registered architecture, told apart by `kind`."""


def make_dictionary(
    config: ArchitectureBase,
    d_in: int,
    generator: torch.Generator | None = None,
    sample: Float[Tensor, "n d"] | None = None,
    *,
    target: Float[Tensor, "rows o"] | None = None,
    d_out: int | None = None,
    weights: Float[Tensor, "o r"] | None = None,
) -> Dictionary:
    """Make a dictionary for a site of width d_in, in float32 on the CPU, with its starting values, in training mode.

    The same config, generator state and sample give the same bytes. `sample` (activations of the site) is needed by
    the `bias_init` rules that look at data. Without a generator torch's global one is used.
    A transcoder writes another site: `target` are that site's activations at the positions of `sample`, `d_out` its width
    (default: that of `target`, or d_in). `weights`, a matrix that writes (or reads) the site where the atoms live, is needed
    by `atom_init` 'weights'.
    Raises ConfigError if the architecture is unknown or cannot write another site, the width impossible, or a sample is
    needed and missing.
    """
    d_out = d_out or (d_in if target is None else target.shape[1])
    dictionary = empty_dictionary(config, d_in, d_out)
    if target is not None:
        _check_target(dictionary, sample, target)
    dictionary.initialise_pair(generator, sample, target)
    if config.atom_init != "own":
        rows = sample if target is None else target
        dictionary.place_atoms(
            start_directions(
                config.atom_init, config.n_latents, d_out, config.atom_noise, generator=generator, sample=rows, weights=weights
            )
        )
    return dictionary


def _check_target(dictionary: Dictionary, sample: Tensor | None, target: Tensor) -> None:
    if not dictionary.transcodes:
        raise ConfigError(f"{dictionary.kind} writes the site it reads, so it takes no target. {transcoding()}")
    if target.shape[1] != dictionary.d_out:
        raise ConfigError(f"the target's sample has width {target.shape[1]}, but d_out is {dictionary.d_out}")
    if sample is not None and len(sample) != len(target):
        raise ConfigError(f"the sample has {len(sample)} rows, that of the target {len(target)}; wanted the same positions")


def transcoding() -> str:
    """Return a sentence that names the architectures with a target."""
    return f"Architectures that can have another target: {', '.join(n for n, cls in ARCHITECTURES.items() if cls.transcodes)}."


def empty_dictionary(config: ArchitectureBase, d_in: int, d_out: int | None = None) -> Dictionary:
    """Make a dictionary of the config's architecture with all parameters zero; ConfigError as in `make_dictionary`."""
    kind = getattr(config, "kind", None)
    if not is_known(kind):
        raise ConfigError(_unknown(kind))
    if not 1 <= d_in <= LARGEST:
        raise ConfigError(f"d_in is {d_in}, wanted a site width between 1 and {LARGEST}")
    cls = ARCHITECTURES[str(kind)]
    if cls.transcodes:
        return cls(config, d_in, d_out)
    if d_out not in (None, d_in):
        raise ConfigError(f"{kind} reads width {d_in} and cannot write width {d_out}. {transcoding()}")
    return cls(config, d_in)
