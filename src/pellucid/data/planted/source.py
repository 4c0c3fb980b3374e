"""Data whose sparse features are known: x = sum of active features' coefficients times their atoms."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from pydantic import Field, model_validator
from torch import Tensor

from pellucid.core.config import Config, build
from pellucid.core.errors import ConfigError, did_you_mean
from pellucid.data.planted.coefficients import Uniform
from pellucid.data.planted.directions import Directions
from pellucid.data.planted.independent import Independent
from pellucid.data.planted.registry import REGIMES, AnyAtoms, AnyCoefficients, AnyFiring
from pellucid.data.source import Batch, seeded
from pellucid.data.stream import Stream


class PlantedConfig(Config):
    """Planted features; the defaults are setup S of the dictionaries' fact sheet."""

    n_features: int = Field(default=64, ge=1)
    """True features."""
    width: int = Field(default=32, ge=1)
    """Dimensions they live in."""
    firing: AnyFiring = Independent()
    """Which features are active together: independent, decaying, correlated or hierarchy."""
    coefficients: AnyCoefficients = Uniform()
    """How strongly: uniform or heavy_tailed."""
    atoms: AnyAtoms = Directions()
    """Where features lie: directions, circles (of two dimensions) or superposition (where a toy model puts them)."""
    noise: float = Field(default=0.0, ge=0, allow_inf_nan=False)
    """Standard deviation of Gaussian noise in each coordinate."""
    fill_empty: bool = False
    """A row without a feature gets one at random, with coefficient 1."""
    seed: int = Field(default=0, ge=0)
    """Decides the atoms and every row."""
    held_out: int = Field(default=20_000, ge=0)
    """Rows held out for scores; training rows never end."""

    @model_validator(mode="after")
    def _possible(self) -> PlantedConfig:
        problems = self.firing.problems(self.n_features) + self.atoms.problems(self.n_features, self.width)
        if problems:
            raise ValueError("; ".join(problems))
        return self


def regime(name: str, **changes: Any) -> PlantedConfig:
    """Return the config of a named regime, with some settings changed; ConfigError lists the names if it is unknown."""
    if name not in REGIMES:
        raise ConfigError(f"unknown regime {name!r}.{did_you_mean(name, REGIMES)} Known: {', '.join(REGIMES)}")
    return build(PlantedConfig, {**REGIMES[name], **changes}, where=f"regime '{name}'")


@dataclass(frozen=True)
class Planted:
    """Rows with the truth behind them: x = coefficients @ atoms, and noise if the config has any."""

    x: Float[Tensor, "rows d"]
    """What a dictionary sees."""
    coefficients: Float[Tensor, "rows a"]
    """Coefficient of each atom; 0 where its feature is not active."""


class PlantedData(Stream):
    """An endless stream of planted rows, [rows, width], float32: a data source for a host that passes vectors on.

    `atoms` [a, width] are unit directions, one for each feature where the config says nothing else (`owners` [a] are their
    features).
    """

    source = "planted"
    config: PlantedConfig

    def __init__(self, config: PlantedConfig | None = None) -> None:
        config = config or PlantedConfig()
        super().__init__(config, config.held_out, positions_per_row=1, seed=config.seed)
        n, generator = config.n_features, seeded("planted atoms", config.seed)
        self.atoms: Float[Tensor, "a d"] = config.atoms.make(n, config.width, generator)
        self.owners: Int[Tensor, " a"] = config.atoms.owners(n)
        self._fire = config.firing.sampler(n, config.seed)

    def train_rows(self, indices: Int[Tensor, " batch"]) -> Batch:
        """Return training rows as a batch; DataError if an index is out of range."""
        return Batch(self.truth(indices).x)

    def held_out_rows(self, indices: Int[Tensor, " batch"]) -> Batch:
        """Return held-out rows as a batch; DataError if an index is out of range."""
        return Batch(self.truth(indices, held_out=True).x)

    def truth(self, indices: Int[Tensor, " batch"], *, held_out: bool = False) -> Planted:
        """Return the rows with these indices and what they are made of; DataError if an index is out of range."""
        coefficients, *noise = self.drawn(indices, held_out=held_out)
        return Planted(sum(noise, coefficients @ self.atoms), coefficients)

    def parents(self) -> Int[Tensor, " f"]:
        """Return the feature without which each one is never active, -1 for none."""
        return self.config.firing.parents(self.config.n_features)

    def block(self, generator: torch.Generator) -> tuple[Float[Tensor, "rows _"], ...]:
        """Draw the coefficients of a block's rows and, if there is any, their noise."""
        config, rows = self.config, self.block_rows
        active: Bool[Tensor, "rows f"] = self._fire(rows, generator)
        coefficients = active * config.coefficients.draw(rows, config.n_features, generator)
        if config.fill_empty:
            one = torch.randint(config.n_features, (rows, 1), generator=generator)
            filled = coefficients.scatter(1, one, 1.0)
            coefficients = torch.where(active.any(dim=1, keepdim=True), coefficients, filled)
        spread = config.atoms.spread(coefficients, generator)
        if config.noise == 0:
            return (spread,)
        return spread, config.noise * torch.randn(rows, config.width, generator=generator)
