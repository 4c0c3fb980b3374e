"""Transcoders: a dictionary that reads one site and reconstructs another, such as an MLP's input and its output."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

import torch
from jaxtyping import Bool, Float
from pydantic import Field, model_validator
from torch import Tensor, nn
from torch.nn.functional import linear

from pellucid.dictionaries.auxiliary import AuxiliaryConfig, residual_term
from pellucid.dictionaries.base import Forward, scatter_codes
from pellucid.dictionaries.initial import initial_bias, random_unit_rows
from pellucid.dictionaries.sparse import keep_largest, weighted_rows
from pellucid.dictionaries.unit_atoms import UnitDecoder
from pellucid.kernels.entries import Entries


class TranscoderSettings(AuxiliaryConfig):
    """Settings of transcoders."""

    k: int | None = Field(default=32, ge=1)
    """Active latents per token, at most n_latents; null where l1 is given: the ReLU form."""
    l1: float | None = Field(default=None, ge=0, allow_inf_nan=False)
    """Sparsity coefficient lambda of the ReLU form; the penalty is lambda / d_out times the mean sum of codes."""
    bias_init: Literal["mean", "zeros"] = "mean"
    """Where the decoder bias starts: at the mean of a sample of the target, or at zero."""

    @model_validator(mode="before")
    @classmethod
    def _one_form(cls, values: Any) -> Any:
        """l1 without k asks for the ReLU form, though k has a default."""
        if isinstance(values, dict) and values.get("l1") is not None and "k" not in values:
            return {**values, "k": None}
        return values

    @model_validator(mode="after")
    def _fits(self) -> TranscoderSettings:
        if (self.k is None) == (self.l1 is None):
            raise ValueError(f"k is {self.k} and l1 is {self.l1}, wanted one of them: k latents per token, or ReLU and l1")
        if self.k is not None and self.k > self.n_latents:
            raise ValueError(
                f"k = {self.k} latents per token cannot come from n_latents = {self.n_latents}. Lower k or widen it"
            )
        return self


class TranscoderConfig(TranscoderSettings):
    """Transcoder: reads `site`, reconstructs `target`."""

    kind: Literal["transcoder"] = "transcoder"
    """Name of the architecture."""


class SkipTranscoderConfig(TranscoderSettings):
    """Skip transcoder: a transcoder with a linear path from input to output beside its latents."""

    kind: Literal["skip_transcoder"] = "skip_transcoder"
    """Name of the architecture."""


class TranscoderDictionary(UnitDecoder):
    """Transcoder (Dunefsky et al. 2024, arXiv 2406.11944), in TopK form or with ReLU and an L1 penalty.

        pre = encoder @ x + encoder_bias
        z = ReLU(the k largest of pre), or ReLU(pre) where l1 is given
        reconstruction = z @ decoder + decoder_bias, which should be the target's value y
        sparsity = l1 / d_out * mean over tokens of sum_i z_i                                       (ReLU form)
        auxiliary = the auxiliary term of TopK on the residual y - reconstruction                   (TopK form)

    x [n, d_in] is read as it is, encoder [m, d_in], decoder [m, d_out]. Atoms are kept at unit length: `before_step`
    removes the part of the gradient along each, `after_step` renormalises. The paper's loss sums squared errors over
    coordinates where ours take the mean, so its lambda is `l1`; its ghost gradients are replaced by the auxiliary term.
    """

    kind = "transcoder"
    Config: ClassVar[type[TranscoderSettings]] = TranscoderConfig
    config: TranscoderSettings
    parallel = ("data", "sites")
    transcodes = True

    def create_tensors(self, m: int, d: int) -> None:
        """Register the parameters, those that write as wide as the target."""
        super().create_tensors(m, d)
        self.decoder = nn.Parameter(torch.zeros(m, self.d_out))
        self.decoder_bias = nn.Parameter(torch.zeros(self.d_out))

    def preactivations(self, x: Float[Tensor, "n d"]) -> Float[Tensor, "n m"]:
        """Return encoder @ x + encoder_bias; SiteError if x does not fit."""
        return linear(self.accept(x), self.encoder, self.encoder_bias)

    def encode(self, x: Float[Tensor, "n d"]) -> Float[Tensor, "n m"]:
        """Return the dense codes."""
        pre = self.preactivations(x)
        return pre.relu() if self.config.k is None else scatter_codes(*keep_largest(pre, self.config.k), self.n_latents)

    def decode(self, codes: Float[Tensor, "n m"]) -> Float[Tensor, "n o"]:
        """Return codes @ decoder + decoder_bias, in the units of the target."""
        return codes @ self.decoder + self.decoder_bias

    def forward(self, x: Float[Tensor, "n d"]) -> Forward:
        """Encode x and decode it to the target's width; SiteError if x does not fit."""
        pre = self.preactivations(x)
        if self.config.k is None:
            codes = pre.relu()
            return Forward(self.decode(codes) + self.beside(x), pre, dense=codes)
        indices, values = keep_largest(pre, self.config.k)
        reconstruction = weighted_rows(self.decoder, indices, values) + self.decoder_bias + self.beside(x)
        return Forward(reconstruction, pre, entries=Entries.of_rows(indices, self.n_latents), values=values.flatten())

    def beside(self, x: Float[Tensor, "n d"]) -> Float[Tensor, "n o"] | float:
        """Return what reaches the output past the latents: nothing."""
        return 0.0

    def penalty(self, forward: Forward, x: Float[Tensor, "n d"], dead: Bool[Tensor, " m"]) -> dict[str, Tensor]:
        """Return {"sparsity"} in the ReLU form, else {"auxiliary"} if latents are dead; see the class.

        The residual is that to `forward.target`, to x where there is none.
        """
        if self.config.l1 is not None:
            return {"sparsity": self.config.l1 / self.d_out * forward.codes.sum(dim=-1).mean()}
        x = self.accept(x).detach()
        wanted = x if forward.target is None else forward.target.detach()
        return residual_term(self, wanted - forward.reconstruction.detach(), x, dead)

    @torch.no_grad()
    def initialise(self, generator: torch.Generator | None, sample: Float[Tensor, "n d"] | None) -> None:
        """Start as a dictionary of one site."""
        self.initialise_pair(generator, sample, sample)

    @torch.no_grad()
    def initialise_pair(
        self,
        generator: torch.Generator | None,
        sample: Float[Tensor, "n d"] | None,
        target: Float[Tensor, "n o"] | None,
    ) -> None:
        """Start at random unit atoms and the bias at the target's mean, the encoder at random rows of one length.

        That length makes the codes of a start about as large as the target: rms |y - decoder_bias| / rms |x| over the
        sample (the paper's kaiming-uniform rows suit targets as long as their sources), 1 without a sample.
        """
        if target is None and self.d_out == self.d_in:
            target = sample
        self.decoder.copy_(random_unit_rows(self.n_latents, self.d_out, generator))
        self.encoder.copy_(random_unit_rows(self.n_latents, self.d_in, generator))
        self.encoder_bias.zero_()
        self.decoder_bias.copy_(initial_bias(self.config.bias_init, target, self.d_out))
        if sample is not None and target is not None and len(sample):
            scale = _root_mean_square(target - self.decoder_bias) / _root_mean_square(sample)
            self.encoder.mul_(scale if 0 < scale < float("inf") else 1.0)


def _root_mean_square(rows: Float[Tensor, "n w"]) -> float:
    return float(rows.double().square().sum(dim=-1).mean().sqrt()) or float("nan")


class SkipTranscoderDictionary(TranscoderDictionary):
    """Skip transcoder (Paulo et al. 2025, arXiv 2501.18823): TC(x) + skip @ x.

    `skip` [d_out, d_in] starts at 0, so that a fit begins as a transcoder's. Where the target is a linear map of the
    source it alone explains everything.
    """

    kind = "skip_transcoder"
    Config = SkipTranscoderConfig
    config: SkipTranscoderConfig

    def create_tensors(self, m: int, d: int) -> None:
        """Register the transcoder's parameters and the linear path."""
        super().create_tensors(m, d)
        self.skip = nn.Parameter(torch.zeros(self.d_out, d))

    def beside(self, x: Float[Tensor, "n d"]) -> Float[Tensor, "n o"]:
        """Return skip @ x."""
        return linear(self.accept(x), self.skip)

    @torch.no_grad()
    def initialise_pair(
        self,
        generator: torch.Generator | None,
        sample: Float[Tensor, "n d"] | None,
        target: Float[Tensor, "n o"] | None,
    ) -> None:
        """Start as a transcoder does, the linear path at 0."""
        super().initialise_pair(generator, sample, target)
        self.skip.zero_()
