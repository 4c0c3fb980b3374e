"""Threshold-activated dictionary under the atomic inner product."""

from __future__ import annotations

from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import linear

from pellucid.dictionaries.atomic import atomic_metric
from pellucid.dictionaries.initial import input_scale, random_unit_rows
from pellucid.dictionaries.jumprelu import JumpReluDictionary, JumpSettings


class ThresholdConfig(JumpSettings):
    """Threshold dictionary (TSAE): the encoder is the decoder seen through the atomic inner product."""

    kind: Literal["threshold"] = "threshold"
    """Name of the architecture."""
    bias_init: Literal["zeros"] = "zeros"
    """There is no decoder bias: the atomic inner product takes care of a common offset."""
    atomic: bool = True
    """Measure the inner product on the starting sample; False keeps the Euclidean one. Thresholds and the window around
    them are in units of the activations' length under it: sqrt(d), or the input scale where it is Euclidean."""


class ThresholdDictionary(JumpReluDictionary):
    """Threshold-activated dictionary (arXiv 2509.20784, 'atoms theory').

        <u, v>_S = u' S v,  S = (E[x x'])^-1 over the starting sample (the atomic inner product)
        pre = <decoder_i, x>_S,  z = pre where pre > theta, else 0
        reconstruction = z @ decoder,  atoms of unit S-norm: <decoder_i, decoder_i>_S = 1

    Only the decoder and the thresholds are learnt: the encoder is decoder @ S. Penalty and pseudo-gradients as in
    `JumpReluDictionary`, but that pre and theta have no unit: activations have the root mean square S-norm sqrt(d), in
    which `threshold_init` and `bandwidth` are counted. The penalty is still a share of the Euclidean energy, as the
    reconstruction's error is. `metric` [d, d] holds S; a common offset of all activations, or any invertible change of
    their coordinates, leaves inner products as they are.

    With the true atoms, |<d_i, d_j>_S| <= eps and K of them active with strengths up to s, the pre-activation of an active
    one is off by at most eps (K - 1) s and that of another is at most eps K s. So the support is exact where
    eps K s < theta < least strength - eps (K - 1) s; strengths and reconstruction are exact for eps = 0 only.
    """

    kind = "threshold"
    Config = ThresholdConfig
    config: ThresholdConfig
    metric: Float[Tensor, "d d"]

    def create_tensors(self, m: int, d: int) -> None:
        """Register the atoms and the inner product."""
        self.decoder = nn.Parameter(torch.zeros(m, d))
        self.register_buffer("metric", torch.zeros(d, d))

    @property
    def encoder(self) -> Float[Tensor, "m d"]:  # type: ignore[override]
        """decoder @ S."""
        return self.decoder @ self.metric

    @property
    def encoder_bias(self) -> Float[Tensor, " m"]:  # type: ignore[override]
        """Zero."""
        return self.decoder.new_zeros(self.n_latents)

    @property
    def decoder_bias(self) -> Float[Tensor, " d"]:  # type: ignore[override]
        """Zero."""
        return self.decoder.new_zeros(self.d_in)

    @property
    def length(self) -> Float[Tensor, ""]:
        """Root mean square norm of activations under the inner product: E[x' S x] = trace(S S^-1) = d."""
        return torch.full_like(self.input_scale, self.d_in**0.5) if self.config.atomic else self.input_scale

    @property
    def bandwidth(self) -> Float[Tensor, ""]:
        """Window eps of the pseudo-gradients, in units of pre."""
        return self.config.bandwidth * self.length

    def preactivations(self, x: Float[Tensor, "n d"]) -> Float[Tensor, "n m"]:
        """Return the atomic inner products of x with the atoms; SiteError if x does not fit."""
        return linear(self.accept(x), self.encoder)

    def decode(self, codes: Float[Tensor, "n m"]) -> Float[Tensor, "n d"]:
        """Return codes @ decoder."""
        return codes @ self.decoder

    @torch.no_grad()
    def initialise(self, generator: torch.Generator | None, sample: Float[Tensor, "n d"] | None) -> None:
        """Measure S and start at random directions of unit S-norm, thresholds equal."""
        if self.config.atomic:
            self.metric.copy_(atomic_metric(sample, self.d_in))
        else:
            self.metric.copy_(torch.eye(self.d_in))
        self.decoder.copy_(random_unit_rows(self.n_latents, self.d_in, generator))
        self._unit()
        self.input_scale.fill_(self.config.input_scale or input_scale(sample, torch.zeros(self.d_in)))
        self.log_threshold.fill_(float(torch.log(self.config.threshold_init * self.length)))

    @torch.no_grad()
    def place_atoms(self, directions: Float[Tensor, "m o"]) -> None:
        """Turn the atoms; their S-norm stays 1."""
        self.decoder.copy_(directions)
        self._unit()

    def before_step(self) -> None:
        """Gradients stay as they are: the length that `after_step` restores is not Euclidean."""

    @torch.no_grad()
    def after_step(self) -> None:
        """Scale every atom back to unit S-norm."""
        self._unit()

    def _unit(self) -> None:
        lengths = (self.encoder * self.decoder).sum(dim=-1, keepdim=True).clamp_min(1e-12).sqrt()
        self.decoder.div_(lengths)
