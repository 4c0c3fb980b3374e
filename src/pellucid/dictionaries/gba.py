"""Group bias adaptation: biases follow activation frequencies and no gradient."""

from __future__ import annotations

from typing import Literal

import torch
from jaxtyping import Float
from pydantic import Field, model_validator
from torch import Tensor, nn
from torch.nn.functional import linear, normalize

from pellucid.dictionaries.base import ArchitectureBase, Dictionary, Forward
from pellucid.dictionaries.initial import BiasInit, initial_bias, input_scale, random_unit_rows


class GbaConfig(ArchitectureBase):
    """GBA dictionary: each group of latents is held at a firing frequency of its own; there is no sparsity penalty."""

    kind: Literal["gba"] = "gba"
    """Name of the architecture."""
    n_groups: int = Field(default=10, ge=1)
    """Groups of latents, with target frequencies in geometric steps; 1 is plain bias adaptation at `highest`."""
    highest: float = Field(default=0.1, gt=0, le=1)
    """Target frequency of the first group: share of tokens at which one of its latents may fire."""
    lowest: float = Field(default=1e-3, gt=0, le=1)
    """Target frequency of the last group."""
    silent: float = Field(default=1e-5, ge=0, lt=1)
    """Frequency below which a latent's bias is raised."""
    every: int = Field(default=50, ge=1)
    """Updates between two adaptations; frequencies are counted over all tokens between them."""
    lower_rate: float = Field(default=0.01, gt=0, allow_inf_nan=False)
    """Share of its highest pre-activation by which the bias of a latent that fires too often falls."""
    raise_rate: float = Field(default=0.01, gt=0, allow_inf_nan=False)
    """Share of its group's mean highest pre-activation by which a silent latent's bias rises."""
    bias_init: BiasInit = "geometric_median"
    """Where the decoder bias starts: the geometric median or mean of a sample of activations, or zero."""

    @model_validator(mode="after")
    def _groups_fit(self) -> GbaConfig:
        if self.n_groups > self.n_latents:
            raise ValueError(f"n_groups is {self.n_groups}, but there are n_latents = {self.n_latents}")
        if self.lowest > self.highest:
            raise ValueError(f"lowest is {self.lowest}, wanted at most highest = {self.highest}")
        return self


class GbaDictionary(Dictionary):
    """Dictionary with group bias adaptation (arXiv 2506.14002), encoder and decoder tied.

        pre_i = w_i . (x - decoder_bias) + b_i
        z_i = gain_i * w_i . (x - decoder_bias) where pre_i > 0, else 0       (a jump: the bias selects and does not shift)
        reconstruction = z @ w + decoder_bias,  |w_i| = 1

    No sparsity penalty and no gradient in b. Every `every` updates, with p_i the share of tokens since the last at which
    pre_i > 0, r_i the largest positive pre_i among them (0 if none) and t the target frequency of the latent's group:

        p_i > t:       b_i <- max(b_i - lower_rate * r_i, -s)
        p_i < silent:  b_i <- min(b_i + raise_rate * mean of r over the latents of the group that fired, 0)

    Targets fall geometrically from `highest` to `lowest`; groups are runs of latents of nearly equal size. The paper
    normalises inputs and keeps biases in [-1, 0]; here x stays in its units and the floor is -s, s = `input_scale`, the root
    mean square of |x - decoder_bias| over the starting sample. The paper leaves open whether the activation is shifted by
    the bias: read here as not, which its own equations of recovery ask for.
    """

    kind = "gba"
    Config = GbaConfig
    config: GbaConfig
    encoder_bias: Float[Tensor, " m"]  # type: ignore[assignment]
    input_scale: Float[Tensor, ""]
    fired: Float[Tensor, " m"]
    peak: Float[Tensor, " m"]
    counted: Float[Tensor, ""]
    updates: Float[Tensor, ""]

    def create_tensors(self, m: int, d: int) -> None:
        """Register directions, gains and the decoder bias as parameters; biases and counts as buffers."""
        self.encoder = nn.Parameter(torch.zeros(m, d))
        self.gain = nn.Parameter(torch.zeros(m))
        self.decoder_bias = nn.Parameter(torch.zeros(d))
        for name, shape in {"encoder_bias": (m,), "fired": (m,), "peak": (m,), "counted": (), "updates": ()}.items():
            self.register_buffer(name, torch.zeros(shape))
        self.register_buffer("input_scale", torch.ones(()))

    @property
    def decoder(self) -> Float[Tensor, "m d"]:  # type: ignore[override]
        """Atoms, one row per latent: the encoder's directions times their gains."""
        return self.gain.unsqueeze(-1) * self.encoder

    @property
    def targets(self) -> Float[Tensor, " m"]:
        """Target frequency of each latent."""
        config = self.config
        steps = torch.linspace(0, 1, config.n_groups, device=self.encoder.device)
        return (config.highest * (config.lowest / config.highest) ** steps)[self.groups]

    @property
    def groups(self) -> Tensor:
        """Group of each latent, 0 to n_groups - 1."""
        return torch.arange(self.n_latents, device=self.encoder.device) * self.config.n_groups // self.n_latents

    def preactivations(self, x: Float[Tensor, "n d"]) -> Float[Tensor, "n m"]:
        """Return w @ (x - decoder_bias) + b; SiteError if x does not fit."""
        return linear(self.accept(x) - self.decoder_bias, self.encoder, self.encoder_bias)

    def encode(self, x: Float[Tensor, "n d"]) -> Float[Tensor, "n m"]:
        """Return the projections on the directions that the biases select, at least 0."""
        return self._codes(self.preactivations(x))

    def decode(self, codes: Float[Tensor, "n m"]) -> Float[Tensor, "n d"]:
        """Return codes @ decoder + decoder_bias."""
        return codes @ self.decoder + self.decoder_bias

    def forward(self, x: Float[Tensor, "n d"]) -> Forward:
        """Encode and decode x; in training mode the batch counts for the frequencies. SiteError if x does not fit."""
        pre = self.preactivations(x)
        if self.training and len(pre):
            self._count(pre.detach())
        codes = self._codes(pre)
        return Forward(self.decode(codes), pre, dense=codes)

    def before_step(self) -> None:
        """Remove from the directions' gradient the component along each of them."""
        if self.encoder.grad is not None:
            along = (self.encoder.grad * self.encoder).sum(dim=-1, keepdim=True)
            self.encoder.grad -= along.detach() * self.encoder.detach()

    @torch.no_grad()
    def after_step(self) -> None:
        """Scale directions back to unit length and, when it is time, adapt the biases."""
        self.encoder.copy_(normalize(self.encoder, dim=-1))
        self.updates += 1
        if int(self.updates) >= self.config.every:
            self.adapt()

    @torch.no_grad()
    def adapt(self) -> None:
        """Move the biases by the frequencies counted since the last time, and begin to count anew."""
        config = self.config
        share = self.fired / self.counted.clamp_min(1)
        lowered = torch.maximum(self.encoder_bias - config.lower_rate * self.peak, -self.input_scale)
        raised = (self.encoder_bias + config.raise_rate * self._group_peaks()).clamp_max(0)
        biases = torch.where(share > self.targets, lowered, torch.where(share < config.silent, raised, self.encoder_bias))
        self.encoder_bias.copy_(biases)
        for counts in (self.fired, self.peak, self.counted, self.updates):
            counts.zero_()

    @torch.no_grad()
    def initialise(self, generator: torch.Generator | None, sample: Float[Tensor, "n d"] | None) -> None:
        """Start at random unit directions with gain 1 and bias 0, and the input scale of the sample."""
        self.encoder.copy_(random_unit_rows(self.n_latents, self.d_in, generator))
        self.gain.fill_(1)
        self.decoder_bias.copy_(initial_bias(self.config.bias_init, sample, self.d_in))
        self.input_scale.fill_(input_scale(sample, self.decoder_bias))

    @torch.no_grad()
    def place_atoms(self, directions: Float[Tensor, "m o"]) -> None:
        """Turn the directions that encoder and decoder share."""
        self.encoder.copy_(directions)

    def problems(self) -> list[str]:
        """Return what no training could have left in the buffers."""
        above = int((self.encoder_bias > 0).sum())
        found = [f"'encoder_bias' has {above} values above 0, which adaptation never leaves"] if above else []
        return found + ([] if self.input_scale > 0 else [f"'input_scale' is {float(self.input_scale)}, wanted more than 0"])

    def _codes(self, pre: Float[Tensor, "n m"]) -> Float[Tensor, "n m"]:
        return torch.where(pre > 0, pre - self.encoder_bias, 0.0)

    def _count(self, pre: Float[Tensor, "n m"]) -> None:
        self.fired += (pre > 0).sum(dim=0)
        self.peak.copy_(torch.maximum(self.peak, pre.amax(dim=0)))  # starts at 0, so it stays positive or 0
        self.counted += len(pre)

    def _group_peaks(self) -> Float[Tensor, " m"]:
        """Return for each latent the mean peak of those of its group that fired, 0 if none did."""
        groups, active = self.groups, (self.peak > 0).to(self.peak.dtype)
        sums = self.peak.new_zeros(self.config.n_groups).index_add_(0, groups, self.peak)
        counts = self.peak.new_zeros(self.config.n_groups).index_add_(0, groups, active)
        return (sums / counts.clamp_min(1))[groups]
