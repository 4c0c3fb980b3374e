"""The verb that trains dictionaries."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import tyro
import yaml
from pydantic import Field

from pellucid.cli.verb import Verb
from pellucid.core import config as configs
from pellucid.core.errors import ConfigError, raise_all
from pellucid.dictionaries import ARCHITECTURES
from pellucid.training import DictionaryConfig, FitConfig


class Fit(Verb, FitConfig):
    """Train dictionaries on a language model, score them on held-out text and write a report.

    One dictionary is described by flags (--site, --architecture, --objective, ...); several by the key `dictionaries` of a
    YAML file given with --config.
    """

    out: Path = Path("runs/fit")
    """Run folder; an unfinished fit there is resumed, another config there is refused."""
    dictionaries: Annotated[dict[str, DictionaryConfig], tyro.conf.Suppress] = Field(
        default_factory=lambda: {"main": DictionaryConfig(site="layers.14")}
    )
    """Dictionaries by name, in a YAML file."""
    site: str | None = None
    """Where the dictionary reads and writes, like layers.14 or layers.14.mlp (default layers.14)."""
    target: str | None = None
    """Where a transcoder writes, like layers.14.mlp for site layers.14.mlp.input (default: the site)."""
    architecture: str | None = None
    """Kind of dictionary (default topk); each with its settings below."""
    objective: str | None = None
    """local, e2e or e2e+ds (default local)."""
    n_latents: int | None = None
    """Number of latents."""
    k: int | None = None
    """Active latents per token (of kinds that have k)."""
    l1: float | None = None
    """Sparsity coefficient lambda (of kinds that have l1)."""
    target_l0: float | None = None
    """Active latents per token that the penalty aims at (of kinds that have target_l0)."""
    settings: tuple[str, ...] = ()
    """Any other setting of the architecture as name=value, like --settings beta=0.3 atom_init=weights."""
    lr: float | None = None
    """Peak learning rate."""
    init_from: str | None = None
    """Folder of a dictionary to start from."""

    @classmethod
    def description(cls) -> str:
        """Return what --help says, with the settings of every architecture."""
        kinds = [f"{name}: {configs.explain(kind.Config)}" for name, kind in ARCHITECTURES.items()]
        title = "Settings of `architecture` in the YAML file, by kind (some have a flag below):"
        return "\n\n".join([super().description(), title, *kinds])

    def perform(self) -> Any:
        from pellucid.job import fit

        return fit(fit_config(self), self.out)


def fit_config(options: Fit) -> FitConfig:
    """Return the FitConfig that the flags and the YAML file describe; ConfigError if they contradict each other."""
    names = ("site", "target", "objective", "architecture", "n_latents", "k", "l1", "target_l0", "lr", "init_from")
    given = {name: value for name in names if (value := getattr(options, name)) is not None}
    further = named_settings(options.settings)
    twice = sorted(name for name in further if name in given or name == "kind")
    if twice:
        raise ConfigError(f"--settings gives {', '.join(twice)}, which has a flag of its own (the kind's is --architecture)")
    values = {name: getattr(options, name) for name in FitConfig.model_fields}
    if not given and not further:
        return configs.build(FitConfig, values)
    if set(options.dictionaries) != {"main"}:
        named = sorted(options.dictionaries)
        flags = sorted([*given, *(["settings"] if further else [])])
        raise ConfigError(f"flags {flags} describe one dictionary, but the file names {named}; use one or the other")
    base = options.dictionaries["main"].model_dump(mode="json")
    changed = dict(base)
    for name in ("site", "target", "lr", "init_from"):
        changed[name] = given.get(name, base[name])
    if "objective" in given:
        changed["objective"] = {"kind": given["objective"]}
    same_kind = given.get("architecture", base["architecture"]["kind"]) == base["architecture"]["kind"]
    settings = {name: given[name] for name in ("n_latents", "k", "l1", "target_l0") if name in given} | further
    changed["architecture"] = (base["architecture"] if same_kind else {"kind": given["architecture"]}) | settings
    return configs.build(FitConfig, {**values, "dictionaries": {"main": changed}})


def named_settings(words: Sequence[str]) -> dict[str, Any]:
    """Return what name=value words say, values read as YAML; ConfigError names the words that say nothing."""
    found: dict[str, Any] = {}
    problems = []
    for word in words:
        name, sign, text = word.partition("=")
        try:
            value = yaml.safe_load(text)
        except yaml.YAMLError:
            sign = ""
        if not sign or not name.isidentifier():
            problems.append(f"'{word}' is no setting, wanted name=value, like beta=0.3")
        elif name in found:
            problems.append(f"'{name}' is set twice")
        else:
            found[name] = value
    raise_all(problems, ConfigError)
    return found
