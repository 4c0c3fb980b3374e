"""Planted circuits: outputs of heads on examples of two classes, which a few heads tell apart."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from pydantic import Field, model_validator
from torch import Tensor

from pellucid.core.config import Config
from pellucid.data.source import seeded


class PlantedCircuitConfig(Config):
    """Heads of which a few vary more on positive examples."""

    n_heads: int = Field(default=40, ge=1)
    """Heads."""
    width: int = Field(default=16, ge=1)
    """Width of a head's output."""
    n_circuit: int = Field(default=4, ge=0)
    """Heads of the circuit."""
    examples: int = Field(default=5, ge=1)
    """Examples of each class."""
    noise: float = Field(default=0.3, ge=0, allow_inf_nan=False)
    """Standard deviation, per coordinate, of every head about its own constant output, whose coordinates have variance 1."""
    effect: float = Field(default=2.0, ge=0, allow_inf_nan=False)
    """Effect size: standard deviation of what heads of the circuit add on positive examples, in units of the noise."""
    seed: int = Field(default=0, ge=0)
    """Decides every number."""

    @model_validator(mode="after")
    def _circuit_fits(self) -> PlantedCircuitConfig:
        if self.n_circuit > self.n_heads:
            raise ValueError(f"n_circuit is {self.n_circuit}, but there are n_heads = {self.n_heads}")
        return self


@dataclass(frozen=True)
class PlantedCircuit:
    """What heads give on examples of both classes, and which of them are the circuit."""

    positive: Float[Tensor, "n heads width"]
    """Outputs on the positive examples."""
    negative: Float[Tensor, "n heads width"]
    """Outputs on the negative examples."""
    members: Bool[Tensor, " heads"]
    """True for the heads of the circuit."""


def planted_circuit(config: PlantedCircuitConfig | None = None) -> PlantedCircuit:
    """Draw a planted circuit (the toy of the discrete dictionaries' fact sheet).

        output[e, h] = constant[h] + noise * normal + [e positive and h in the circuit] * effect * noise * normal

    Each normal is drawn anew for every example, head and coordinate; the constants once for each head.
    """
    config = config or PlantedCircuitConfig()
    generator = seeded("planted circuit", config.seed)
    shape = (config.examples, config.n_heads, config.width)
    constant = torch.randn(shape[1:], generator=generator)
    members = torch.zeros(config.n_heads, dtype=torch.bool)
    members[torch.randperm(config.n_heads, generator=generator)[: config.n_circuit]] = True
    positive, negative, extra = config.noise * torch.randn(3, *shape, generator=generator)
    return PlantedCircuit(constant + positive + config.effect * extra * members.unsqueeze(-1), constant + negative, members)
