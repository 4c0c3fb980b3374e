"""Dictionaries that start from the weights of another fit."""

from __future__ import annotations

from pellucid.core.errors import ConfigError
from pellucid.dictionaries import Dictionary
from pellucid.training.config import DictionaryConfig


def rebuilt(dictionary: Dictionary, config: DictionaryConfig, name: str) -> Dictionary:
    """Return the loaded weights under the config's architecture, whose coefficients may differ but not its shape.

    Raises ConfigError naming both if architecture or width differ.
    """
    wanted = config.architecture
    if type(wanted) is not type(dictionary.config) or wanted.n_latents != dictionary.n_latents:
        asked = f"{wanted.model_dump()['kind']} with {wanted.n_latents} latents"
        found = f"{dictionary.kind} with {dictionary.n_latents}"
        raise ConfigError(
            f"dictionary '{name}' wants {asked}, but init_from {config.init_from} holds {found}. "
            f"Make the two equal or leave init_from out."
        )
    dictionary.config = wanted
    return dictionary
