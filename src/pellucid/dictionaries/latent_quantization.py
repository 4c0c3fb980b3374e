"""Latent quantisation (QLAE): a few dimensions, each with a small codebook of numbers of its own."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Bool, Float
from pydantic import Field, model_validator
from torch import Tensor, nn
from torch.nn.functional import mse_loss, one_hot

from pellucid.dictionaries.base import ArchitectureBase, Dictionary, Forward


class LatentQuantizationConfig(ArchitectureBase):
    """Latent quantisation (QLAE): every dimension of a small code takes one of a few learnt values."""

    kind: Literal["latent_quantization"] = "latent_quantization"
    """Name of the architecture."""
    n_latents: int = Field(default=200, ge=1, le=2**28)
    """Number of latents: pairs of a dimension and one of its values, so n_latents / n_values dimensions (20 by default)."""
    n_values: int = Field(default=10, ge=2)
    """Values that a dimension can take."""
    hidden: tuple[int, ...] = (256, 256)
    """Widths of the hidden layers of the encoder, and in reverse of the decoder; none for linear maps."""
    shared: bool = False
    """One codebook for all dimensions instead of one for each."""
    quantization: float = Field(default=0.01, ge=0, allow_inf_nan=False)
    """Weight of the mean squared error that pulls values towards the numbers they replace."""
    commitment: float = Field(default=0.01, ge=0, allow_inf_nan=False)
    """Weight of the mean squared error that pulls the encoder's numbers towards the values that replace them."""
    weight_decay: float = Field(default=0.1, ge=0, allow_inf_nan=False)
    """Decoupled decay of the encoder's and decoder's weights: what learning rate times this they lose an update (AdamW)."""

    @model_validator(mode="after")
    def _fits(self) -> LatentQuantizationConfig:
        if self.n_latents % self.n_values:
            raise ValueError(
                f"n_latents = {self.n_latents} pairs of a dimension and a value cannot be made of n_values = {self.n_values} "
                f"each; wanted a multiple of it"
            )
        if any(width < 1 for width in self.hidden):
            raise ValueError(f"hidden is {self.hidden}, wanted widths of 1 or more")
        return self

    @property
    def n_dimensions(self) -> int:
        """Dimensions of the code."""
        return self.n_latents // self.n_values


@dataclass
class Quantized(Forward):
    """A pass that remembers the numbers before quantisation."""

    scalars: Float[Tensor, "n c"] | None = None


class LatentQuantizationDictionary(Dictionary):
    """Quantised latent autoencoder, QLAE (Hsu et al. 2023, arXiv 2305.18378).

        s = f(x) [n, c],  q_j = the value V_jv nearest to s_j,  reconstruction = g(s + (q - s held fixed))
        quantisation = quantization * MSE(q, s held fixed),  commitment = commitment * MSE(s, q held fixed)

    f and g are fully connected networks with ReLU between their layers; `values` [c, n_values] ([1, n_values] if shared)
    start evenly spaced over [-0.5, 0.5]. The backward pass is straight through: the decoder's gradient reaches s and not
    the values, which learn from the first term alone. Weight decay holds for f and g, not for the values.

    A latent is a pair (j, v) of a dimension and a value; its code is 1 where dimension j takes value v, else 0, so every
    token has c active latents. Its row of `decoder` is what it does alone, g(V_jv at j, 0 elsewhere) - g(0), and
    `decoder_bias` is g(0): exact for a linear g, one point of the map otherwise. Rows of `encoder` are the slopes of s_j at
    x = 0. Images are read as vectors of pixels.
    """

    kind = "latent_quantization"
    Config = LatentQuantizationConfig
    config: LatentQuantizationConfig
    parallel = ("data", "sites")

    def create_tensors(self, m: int, d: int) -> None:
        """Register both networks and the values."""
        config = self.config
        self.encoder_net = _network([d, *config.hidden, config.n_dimensions])
        self.decoder_net = _network([config.n_dimensions, *reversed(config.hidden), d])
        self.values = nn.Parameter(torch.zeros(1 if config.shared else config.n_dimensions, config.n_values))

    @property
    def encoder(self) -> Float[Tensor, "m d"]:  # type: ignore[override]
        """Slope of each latent's dimension at x = 0."""
        origin = self.values.new_zeros(self.d_in)
        slopes = torch.func.jacrev(self.encoder_net)(origin).detach()
        return slopes.repeat_interleave(self.config.n_values, dim=0)

    @property
    def encoder_bias(self) -> Float[Tensor, " m"]:  # type: ignore[override]
        """Each latent's dimension at x = 0."""
        return self.encoder_net(self.values.new_zeros(self.d_in)).repeat_interleave(self.config.n_values)

    @property
    def decoder(self) -> Float[Tensor, "m d"]:  # type: ignore[override]
        """What each latent does alone."""
        return self.decode(torch.eye(self.n_latents, dtype=self.dtype, device=self.values.device)) - self.decoder_bias

    @property
    def decoder_bias(self) -> Float[Tensor, " d"]:  # type: ignore[override]
        """The reconstruction of a code of zeros."""
        return self.decoder_net(self.values.new_zeros(self.config.n_dimensions))

    @property
    def additive(self) -> bool:
        """True for a linear g."""
        return not self.config.hidden

    @property
    def weight_decay(self) -> float:
        """Decay of `decayed`, per unit of learning rate."""
        return self.config.weight_decay

    def decayed(self) -> list[nn.Parameter]:
        """Return the parameters of both networks."""
        return [*self.encoder_net.parameters(), *self.decoder_net.parameters()]

    def scalars(self, x: Float[Tensor, "n d"]) -> Float[Tensor, "n c"]:
        """Return the numbers before quantisation; SiteError if x does not fit."""
        return self.encoder_net(self.accept(x))

    def quantized(self, x: Float[Tensor, "n d"]) -> Float[Tensor, "n c"]:
        """Return the value that each dimension takes."""
        return self._nearest(self.scalars(x))[1]

    def preactivations(self, x: Float[Tensor, "n d"]) -> Float[Tensor, "n m"]:
        """Return minus the distance of each dimension's number from each of its values."""
        return self._distances(self.scalars(x)).neg().flatten(1)

    def encode(self, x: Float[Tensor, "n d"]) -> Float[Tensor, "n m"]:
        """Return 1 for the value that each dimension takes, 0 for the others."""
        return self._nearest(self.scalars(x))[0]

    def decode(self, codes: Float[Tensor, "n m"]) -> Float[Tensor, "n d"]:
        """Return g of the values that the codes choose."""
        return self.decoder_net((codes.unflatten(1, (self.config.n_dimensions, -1)) * self.values).sum(dim=-1))

    def forward(self, x: Float[Tensor, "n d"]) -> Quantized:
        """Encode and decode x; SiteError if x does not fit."""
        scalars = self.scalars(x)
        codes, values = self._nearest(scalars)
        return Quantized(self.decoder_net(scalars + (values - scalars).detach()), dense=codes, scalars=scalars)

    def penalty(self, forward: Forward, x: Float[Tensor, "n d"], dead: Bool[Tensor, " m"]) -> dict[str, Tensor]:
        """Return "quantization" and "commitment", each unless its coefficient is 0; see the class."""
        kept = forward.scalars if isinstance(forward, Quantized) else None
        scalars, terms = self.scalars(x) if kept is None else kept, {}
        values = self._nearest(scalars)[1]
        if self.config.quantization > 0:
            terms["quantization"] = self.config.quantization * mse_loss(values, scalars.detach())
        if self.config.commitment > 0:
            terms["commitment"] = self.config.commitment * mse_loss(scalars, values.detach())
        return terms

    @torch.no_grad()
    def initialise(self, generator: torch.Generator | None, sample: Float[Tensor, "n d"] | None) -> None:
        """Start the layers uniform, as a framework's linear layers do, and the values evenly spaced."""
        for layer in [*self.encoder_net, *self.decoder_net]:
            if isinstance(layer, nn.Linear):
                bound = 1 / math.sqrt(layer.in_features)
                layer.weight.uniform_(-bound, bound, generator=generator)
                layer.bias.uniform_(-bound, bound, generator=generator)
        self.values.copy_(torch.linspace(-0.5, 0.5, self.config.n_values).expand_as(self.values))

    def _distances(self, scalars: Float[Tensor, "n c"]) -> Float[Tensor, "n c v"]:
        return (scalars.unsqueeze(-1) - self.values).abs()

    def _nearest(self, scalars: Float[Tensor, "n c"]) -> tuple[Float[Tensor, "n m"], Float[Tensor, "n c"]]:
        """Return the codes, and the values with their gradient; of two equally near the first is taken."""
        chosen = one_hot(self._distances(scalars.detach()).argmin(dim=-1), self.config.n_values).to(scalars.dtype)
        return chosen.flatten(1), (chosen * self.values).sum(dim=-1)


def _network(widths: Sequence[int]) -> nn.Sequential:
    """Return fully connected layers of these widths with ReLU between them."""
    layers: list[nn.Module] = []
    for before, after in itertools.pairwise(widths):
        layers += [nn.Linear(before, after), nn.ReLU()]
    return nn.Sequential(*layers[:-1])
