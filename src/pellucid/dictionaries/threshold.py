"""Threshold-activated dictionary under the atomic inner product."""

from __future__ import annotations

import math
from typing import Literal

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor, nn
from torch.nn.functional import linear

from pellucid.dictionaries.atomic import atomic_metric, inverse_root
from pellucid.dictionaries.initial import input_scale, random_unit_rows
from pellucid.dictionaries.jumprelu import JumpReluDictionary, JumpSettings


class ThresholdConfig(JumpSettings):
    """Threshold dictionary (TSAE): the encoder is the decoder seen through the atomic inner product."""

    kind: Literal["threshold"] = "threshold"
    """Name of the architecture."""
    bias_init: Literal["zeros"] = "zeros"
    """There is no decoder bias: the atomic inner product takes care of a common offset."""
    atomic: bool = True
    """Measure the inner product on the starting sample; False keeps the Euclidean one."""
    target_l0: float | None = Field(default=None, gt=0, allow_inf_nan=False)
    """L0 to aim at by the penalty lambda * (L0 / target_l0 - 1)^2; default without l0_coefficient: d / (2 log n_latents)."""
    threshold_init: float = Field(default=1.0, gt=0, allow_inf_nan=False)
    """Threshold of every latent at the start, in units of the standard deviation of a random direction's pre-activation."""
    bandwidth: float = Field(default=0.5, gt=0, allow_inf_nan=False)
    """Width of the window around a threshold in which pre-activations move it, in the same units."""


class ThresholdDictionary(JumpReluDictionary):
    """Threshold-activated dictionary (arXiv 2509.20784, 'atoms theory').

        <u, v>_S = u' S v,  S = (E[x x'])^-1 over the starting sample (the atomic inner product)
        pre = <decoder_i, x>_S,  z = pre where pre > theta, else 0
        reconstruction = z @ decoder,  atoms of unit S-norm: <decoder_i, decoder_i>_S = 1

    Only the atoms and the thresholds are learnt: the encoder is decoder @ S. What is trained are the atoms in coordinates in
    which S is the identity, `directions` = decoder @ S^(1/2), rows of length 1: a learning rate means the same at every
    site, whatever its scale. Penalty and pseudo-gradients are those of `JumpReluDictionary`; but pre and theta have no
    unit: a random direction's pre has standard deviation 1 (the input scale / sqrt(d) where S is Euclidean), in which
    `threshold_init` and `bandwidth` are counted. The penalty is still a share of the Euclidean energy, as the
    reconstruction's error is. `metric` [d, d] holds S, `colouring` S^(-1/2); a common offset of all activations, or any
    invertible change of their coordinates, leaves inner products as they are.

    The L0 aimed at by default, d / (2 log m), is the most for which active latents stand out: of m random directions the
    largest pre is about sqrt(2 log m), and E[x' S x] = d shared out over L0 active latents gives each sqrt(d / L0).

    With the true atoms, |<d_i, d_j>_S| <= eps and K of them active with strengths up to s, the pre-activation of an active
    one is off by at most eps (K - 1) s and that of another is at most eps K s. So the support is exact where
    eps K s < theta < least strength - eps (K - 1) s; strengths and reconstruction are exact for eps = 0 only.
    """

    kind = "threshold"
    Config = ThresholdConfig
    config: ThresholdConfig
    metric: Float[Tensor, "d d"]
    colouring: Float[Tensor, "d d"]

    def create_tensors(self, m: int, d: int) -> None:
        """Register the directions and the inner product."""
        self.directions = nn.Parameter(torch.zeros(m, d))
        self.register_buffer("metric", torch.zeros(d, d))
        self.register_buffer("colouring", torch.zeros(d, d))

    @property
    def decoder(self) -> Float[Tensor, "m d"]:  # type: ignore[override]
        """directions @ S^(-1/2), rows of unit S-norm."""
        return self.directions @ self.colouring

    @property
    def encoder(self) -> Float[Tensor, "m d"]:  # type: ignore[override]
        """decoder @ S."""
        return self.decoder @ self.metric

    @property
    def encoder_bias(self) -> Float[Tensor, " m"]:  # type: ignore[override]
        """Zero."""
        return self.directions.new_zeros(self.n_latents)

    @property
    def decoder_bias(self) -> Float[Tensor, " d"]:  # type: ignore[override]
        """Zero."""
        return self.directions.new_zeros(self.d_in)

    @property
    def spread(self) -> Float[Tensor, ""]:
        """Standard deviation of a random direction's pre: E[<u, x>_S^2] = 1 for u of unit S-norm."""
        return torch.ones_like(self.input_scale) if self.config.atomic else self.input_scale / self.d_in**0.5

    @property
    def bandwidth(self) -> Float[Tensor, ""]:
        """Window eps of the pseudo-gradients, in units of pre."""
        return self.config.bandwidth * self.spread

    @property
    def usual_l0(self) -> float:
        """L0 aimed at where the config says nothing; see the class."""
        return max(1.0, self.d_in / (2 * math.log(max(2, self.n_latents))))

    def preactivations(self, x: Float[Tensor, "n d"]) -> Float[Tensor, "n m"]:
        """Return the atomic inner products of x with the atoms; SiteError if x does not fit."""
        return linear(self.accept(x), self.encoder)

    def decode(self, codes: Float[Tensor, "n m"]) -> Float[Tensor, "n d"]:
        """Return codes @ decoder."""
        return codes @ self.decoder

    @torch.no_grad()
    def initialise(self, generator: torch.Generator | None, sample: Float[Tensor, "n d"] | None) -> None:
        """Measure S and start at random directions, thresholds equal."""
        metric = atomic_metric(sample, self.d_in) if self.config.atomic else torch.eye(self.d_in, dtype=torch.float64)
        self.metric.copy_(metric)
        self.colouring.copy_(inverse_root(metric))
        self.directions.copy_(random_unit_rows(self.n_latents, self.d_in, generator))
        self._unit()
        self.input_scale.fill_(self.config.input_scale or input_scale(sample, torch.zeros(self.d_in)))
        self.log_threshold.fill_(float(torch.log(self.config.threshold_init * self.spread)))

    @torch.no_grad()
    def place_atoms(self, directions: Float[Tensor, "m o"]) -> None:
        """Turn the atoms; their S-norm stays 1."""
        self.directions.copy_(directions @ self.metric @ self.colouring)
        self._unit()

    def before_step(self) -> None:
        """Gradients stay as they are: `after_step` restores the length."""

    @torch.no_grad()
    def after_step(self) -> None:
        """Scale every atom back to unit S-norm."""
        self._unit()

    def _unit(self) -> None:
        lengths = (self.encoder * self.decoder).sum(dim=-1, keepdim=True).clamp_min(1e-12).sqrt()
        self.directions.div_(lengths)
