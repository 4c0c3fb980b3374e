"""JumpReLU dictionary: a learnt threshold per latent and a penalty on the number of active latents."""

from __future__ import annotations

import math
from typing import Any, ClassVar, Literal

import torch
from jaxtyping import Bool, Float
from pydantic import Field
from torch import Tensor, nn

from pellucid.dictionaries.base import Forward
from pellucid.dictionaries.initial import input_scale
from pellucid.dictionaries.unit_atoms import UnitAtomConfig, UnitAtomDictionary
from pellucid.kernels.forms import Form
from pellucid.kernels.sparse import above


class JumpSettings(UnitAtomConfig):
    """Settings of every dictionary with learnt thresholds."""

    l0_coefficient: float | None = Field(default=None, ge=0, allow_inf_nan=False)
    """Weight lambda of the penalty lambda * L0, as a share of the activations' energy; with target_l0 of its own (1)."""
    target_l0: float | None = Field(default=None, gt=0, allow_inf_nan=False)
    """L0 to aim at by the penalty lambda * (L0 / target_l0 - 1)^2; default without l0_coefficient: the root of the width."""
    threshold_init: float = Field(default=0.05, gt=0, allow_inf_nan=False)
    """Threshold of every latent at the start, in units of the input scale; its logarithm moves by about lr a step."""
    bandwidth: float = Field(default=0.03, gt=0, allow_inf_nan=False)
    """Width of the window around a threshold in which pre-activations move it, in units of the input scale."""
    input_scale: float | None = Field(default=None, gt=0, allow_inf_nan=False)
    """Root mean square distance of activations from the decoder bias; measured on a sample if not given."""


class JumpReluConfig(JumpSettings):
    """JumpReLU dictionary: a latent is active where its pre-activation exceeds its own learnt threshold."""

    kind: Literal["jumprelu"] = "jumprelu"
    """Name of the architecture."""


class JumpReluDictionary(UnitAtomDictionary):
    """JumpReLU dictionary (Rajamanoharan et al. 2024, arXiv 2407.14435).

        pre = encoder @ (x - decoder_bias) + encoder_bias,  theta = exp(log_threshold)
        z = pre where pre > theta, else 0
        reconstruction = z @ decoder + decoder_bias
        penalty = l0_coefficient * s^2 / d * (mean L0 / target_l0 - 1)^2, or without a target
                  l0_coefficient * s^2 / d * L0, L0 = mean over tokens of #{i: pre_i > theta_i}

    With neither given the target is sqrt(d): no one coefficient suits both few large codes and many small ones.

    Steps have no slope, so thresholds follow the paper's pseudo-gradients with the rectangle K(u) = 1 where |u| < 1/2 and
    eps = bandwidth * s:

        d z / d theta = -theta / eps * K((pre - theta) / eps),  d [pre > theta] / d theta = -1 / eps * K((pre - theta) / eps)

    The step itself passes no gradient to pre.

    Scale. The paper's settings are for activations scaled to E|x|^2 = 1. Here nothing is scaled: x, codes, thresholds and
    biases are in the site's own units, and the settings are multiplied by the input scale s instead, which comes to the
    same loss divided by the constant s^2 / d (objective 'local' is a mean over coordinates). s^2 = E|x - decoder_bias|^2
    over the sample that the dictionary starts from; it is kept in the buffer `input_scale`, so that a resume or a warm
    start goes on with it. Inference does not need it. The KL of an end-to-end objective does not grow with s^2: the
    coefficient has to be found anew there.
    """

    kind = "jumprelu"
    Config: ClassVar[type[JumpSettings]] = JumpReluConfig
    config: JumpSettings
    sparse = True
    input_scale: Float[Tensor, ""]

    def __init__(self, config: JumpSettings, d_in: int) -> None:
        super().__init__(config, d_in)
        self.log_threshold = nn.Parameter(torch.zeros(config.n_latents))
        self.register_buffer("input_scale", torch.ones(()))

    @property
    def threshold(self) -> Float[Tensor, " m"]:
        """Threshold of each latent, in the site's units."""
        return self.log_threshold.exp()

    @property
    def bandwidth(self) -> Float[Tensor, ""]:
        """Window eps of the pseudo-gradients, in the site's units."""
        return self.config.bandwidth * self.input_scale

    @property
    def usual_l0(self) -> float:
        """L0 aimed at where the config says nothing."""
        return math.sqrt(self.d_in)

    def encode(self, x: Float[Tensor, "n d"]) -> Float[Tensor, "n m"]:
        """Return pre where it exceeds the latent's threshold, else 0."""
        return jump_relu(self.preactivations(x), self.threshold, self.bandwidth)

    def forward(self, x: Float[Tensor, "n d"]) -> Forward:
        """Encode and decode x; SiteError if x does not fit."""
        if self.form is not None and (found := self._sparse(self.form, x)) is not None:
            return found
        pre = self.preactivations(x)
        codes = jump_relu(pre, self.threshold, self.bandwidth)
        return Forward(self.decode(codes), pre, dense=codes)

    def penalty(self, forward: Forward, x: Float[Tensor, "n d"], dead: Bool[Tensor, " m"]) -> dict[str, Tensor]:
        """Return {"sparsity": the penalty on L0}, whose gradient reaches the thresholds alone; see the class."""
        config = self.config
        assert forward.pre is not None
        threshold = self.threshold if forward.entries is None else self.threshold[forward.entries.latents]
        l0 = step(forward.pre, threshold, self.bandwidth).sum() / len(forward.reconstruction)
        weight, target = config.l0_coefficient, config.target_l0
        if weight is None:
            weight, target = 1.0, target or self.usual_l0
        amount = l0 if target is None else (l0 / target - 1).square()
        return {"sparsity": weight * self.input_scale.square() / self.d_in * amount}

    def _sparse(self, form: Form, x: Float[Tensor, "n d"]) -> Forward | None:
        """Return the pass over the entries above or near their threshold; None where they are too dense for it."""
        least = (self.threshold - self.bandwidth / 2).detach()
        found = above(form, self.centred(x), self.encoder, self.encoder_bias, least)
        if found is None:
            return None
        entries, pre = found[0], self.encoded(form, *found, x)
        values = jump_relu(pre, self.threshold[entries.latents], self.bandwidth)
        return Forward(self.reconstructed(form, entries, values), pre, entries=entries, values=values)

    @torch.no_grad()
    def initialise(self, generator: torch.Generator | None, sample: Float[Tensor, "n d"] | None) -> None:
        """Start as every unit-atom dictionary does, with equal thresholds and the input scale of the sample.

        Raises ConfigError or NumericsError if the scale has to be measured and cannot be.
        """
        super().initialise(generator, sample)
        self.input_scale.fill_(self.config.input_scale or input_scale(sample, self.decoder_bias))
        self.log_threshold.fill_(math.log(self.config.threshold_init * float(self.input_scale)))

    def problems(self) -> list[str]:
        """Return what no training could have left in the buffer."""
        scale = float(self.input_scale)
        return [] if scale > 0 else [f"'input_scale' is {scale}, wanted more than 0"]


def jump_relu(
    pre: Float[Tensor, "*n m"], threshold: Float[Tensor, " m"], bandwidth: Float[Tensor, ""]
) -> Float[Tensor, "*n m"]:
    """Return pre where it exceeds its threshold, else 0; for gradients see `JumpReluDictionary`."""
    return _JumpRelu.apply(pre, threshold, bandwidth)


def step(pre: Float[Tensor, "*n m"], threshold: Float[Tensor, " m"], bandwidth: Float[Tensor, ""]) -> Float[Tensor, "*n m"]:
    """Return 1 where pre exceeds its threshold, else 0; for gradients see `JumpReluDictionary`."""
    return _Step.apply(pre, threshold, bandwidth)


def window(pre: Float[Tensor, "*n m"], threshold: Float[Tensor, " m"], bandwidth: Float[Tensor, ""]) -> Bool[Tensor, "*n m"]:
    """Mark the entries with |pre - threshold| < bandwidth / 2."""
    return (pre - threshold).abs() < bandwidth / 2


class _JumpRelu(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, pre: Tensor, threshold: Tensor, bandwidth: Tensor) -> Tensor:
        ctx.save_for_backward(pre, threshold, bandwidth)
        return torch.where(pre > threshold, pre, 0.0)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor, None]:
        (grad,) = grads
        pre, threshold, bandwidth = ctx.saved_tensors
        near = torch.where(window(pre, threshold, bandwidth), grad, 0.0).sum_to_size(threshold.shape)
        return torch.where(pre > threshold, grad, 0.0), -threshold / bandwidth * near, None


class _Step(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, pre: Tensor, threshold: Tensor, bandwidth: Tensor) -> Tensor:
        ctx.save_for_backward(pre, threshold, bandwidth)
        return (pre > threshold).to(pre.dtype)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[None, Tensor, None]:
        (grad,) = grads
        pre, threshold, bandwidth = ctx.saved_tensors
        near = torch.where(window(pre, threshold, bandwidth), grad, 0.0).sum_to_size(threshold.shape)
        return None, -near / bandwidth, None
