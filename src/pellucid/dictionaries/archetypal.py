"""Archetypal dictionary: atoms stay near convex combinations of data points."""

from __future__ import annotations

from typing import Literal

import torch
from jaxtyping import Bool, Float
from pydantic import Field, model_validator
from torch import Tensor, nn
from torch.nn.functional import linear

from pellucid.core.errors import ConfigError
from pellucid.dictionaries.auxiliary import AuxiliaryConfig, auxiliary_term
from pellucid.dictionaries.base import Dictionary, Forward, scatter_codes
from pellucid.dictionaries.initial import BiasInit, initial_bias
from pellucid.dictionaries.sparse import LargestKConfig, keep_largest


class ArchetypalConfig(LargestKConfig, AuxiliaryConfig):
    """Archetypal dictionary (RA-SAE): TopK codes, atoms near the convex hull of points of the data."""

    kind: Literal["archetypal"] = "archetypal"
    """Name of the architecture."""
    n_points: int | None = Field(default=None, ge=1)
    """Points of the data that atoms are made of, at least n_latents; default n_latents."""
    points: Literal["centroids", "samples"] = "centroids"
    """Centroids of k-means over the starting sample, or rows of it."""
    delta: float = Field(default=0.01, ge=0, allow_inf_nan=False)
    """How far an atom may lie from the convex hull, as a share of the points' root mean square norm; 0 is the strict form."""
    bias_init: BiasInit = "zeros"
    """Where the decoder bias starts: at zero, or the geometric median or mean of a sample of activations."""

    @model_validator(mode="after")
    def _enough_points(self) -> ArchetypalConfig:
        if self.n_points is not None and self.n_points < self.n_latents:
            raise ValueError(
                f"n_points is {self.n_points}, wanted at least n_latents = {self.n_latents}: each atom starts at its own"
            )
        return self

    @property
    def count(self) -> int:
        """Number p of points."""
        return self.n_points or self.n_latents


class ArchetypalDictionary(Dictionary):
    """Relaxed archetypal dictionary (Fel et al. 2025, arXiv 2502.12892) with a TopK encoder.

        atoms = exp(log_scale) * (mixture @ points + deviation)
        mixture [m, p] >= 0 with rows that sum to 1,  |deviation_i| <= delta
        pre = encoder @ (x - decoder_bias) + encoder_bias,  z = ReLU(the k largest of pre)
        reconstruction = z @ atoms + decoder_bias, and the auxiliary term of TopK

    `points` [p, d] come from the starting sample, are divided by their root mean square norm and never move. `after_step`
    brings mixture and deviation back: negative weights to 0 and rows divided by their sum, deviations shortened to delta.
    Starts at one point per atom, no deviation and log_scale 0. The relaxed form's delta is absolute in the paper; here it is
    in units of the scaled points.
    """

    kind = "archetypal"
    Config = ArchetypalConfig
    config: ArchetypalConfig
    parallel = ("data", "sites")
    points: Float[Tensor, "p d"]

    def create_tensors(self, m: int, d: int) -> None:
        """Register the encoder, what atoms are made of, and the points."""
        self.encoder = nn.Parameter(torch.zeros(m, d))
        self.encoder_bias = nn.Parameter(torch.zeros(m))
        self.mixture = nn.Parameter(torch.zeros(m, self.config.count))
        self.deviation = nn.Parameter(torch.zeros(m, d))
        self.log_scale = nn.Parameter(torch.zeros(()))
        self.decoder_bias = nn.Parameter(torch.zeros(d))
        self.register_buffer("points", torch.zeros(self.config.count, d))

    @property
    def decoder(self) -> Float[Tensor, "m d"]:  # type: ignore[override]
        """Atoms, one row per latent, not of unit length."""
        return self.log_scale.exp() * (self.mixture @ self.points + self.deviation)

    def preactivations(self, x: Float[Tensor, "n d"]) -> Float[Tensor, "n m"]:
        """Return encoder @ (x - decoder_bias) + encoder_bias; SiteError if x does not fit."""
        return linear(self.accept(x) - self.decoder_bias, self.encoder, self.encoder_bias)

    def encode(self, x: Float[Tensor, "n d"]) -> Float[Tensor, "n m"]:
        """Return the dense codes: at most k of each row are positive, the rest 0."""
        indices, values = keep_largest(self.preactivations(x), self.config.k)
        return scatter_codes(indices, values, self.n_latents)

    def decode(self, codes: Float[Tensor, "n m"]) -> Float[Tensor, "n d"]:
        """Return codes @ atoms + decoder_bias."""
        return codes @ self.decoder + self.decoder_bias

    def forward(self, x: Float[Tensor, "n d"]) -> Forward:
        """Encode and decode x; SiteError if x does not fit."""
        pre = self.preactivations(x)
        codes = scatter_codes(*keep_largest(pre, self.config.k), self.n_latents)
        return Forward(self.decode(codes), pre, dense=codes)

    def penalty(self, forward: Forward, x: Float[Tensor, "n d"], dead: Bool[Tensor, " m"]) -> dict[str, Tensor]:
        """Return {"auxiliary": aux_coefficient * L_aux}, or nothing if no latent is dead; see `auxiliary_term`."""
        return auxiliary_term(self, forward, x, dead)

    @torch.no_grad()
    def after_step(self) -> None:
        """Bring the mixture's rows back to shares and the deviations back to delta."""
        shares = self.mixture.relu()
        total = shares.sum(dim=-1, keepdim=True)
        self.mixture.copy_(torch.where(total > 0, shares / total, 1 / self.config.count))
        lengths = self.deviation.norm(dim=-1, keepdim=True)
        self.deviation.mul_(torch.where(lengths > self.config.delta, self.config.delta / lengths, 1.0))

    @torch.no_grad()
    def initialise(self, generator: torch.Generator | None, sample: Float[Tensor, "n d"] | None) -> None:
        """Choose the points and start each atom at its own; the encoder points to the atoms, as a TopK's does.

        Raises ConfigError if there is no sample or it has fewer rows than there are points.
        """
        rows = 0 if sample is None else len(sample)
        if sample is None or rows < self.config.count:
            raise ConfigError(
                f"{self.config.count} points need a sample of at least as many activations, got {rows}. "
                f"Raise sample_rows, or lower n_points or n_latents"
            )
        self.decoder_bias.copy_(initial_bias(self.config.bias_init, sample, self.d_in))
        chosen = chosen_points(sample.double(), self.config.count, self.config.points, generator)
        norm = chosen.square().sum(dim=-1).mean().sqrt()
        if not 0 < norm < float("inf"):
            raise ConfigError(f"the points have norm {float(norm)}: the sample is all zero or not finite. Check the site")
        self.points.copy_(chosen / norm)
        self.mixture.copy_(torch.eye(self.n_latents, self.config.count))
        self.deviation.zero_()
        self.encoder.copy_(self.atoms())
        self.encoder_bias.zero_()
        self.log_scale.zero_()

    @torch.no_grad()
    def problems(self) -> list[str]:
        """Return what no training could have left in the mixture."""
        off = float((self.mixture.float().sum(dim=-1) - 1).abs().max())
        least = float(self.mixture.min())
        found = [f"'mixture' holds {least}, wanted shares of at least 0"] if least < 0 else []
        slack = 1e-3 if self.mixture.dtype == torch.float32 else 0.1
        return found + ([f"a row of 'mixture' misses the sum 1 by {off}"] if off > slack else [])


def chosen_points(
    sample: Float[Tensor, "n d"], count: int, how: str, generator: torch.Generator | None
) -> Float[Tensor, "p d"]:
    """Return `count` rows of the sample, or centroids of k-means that starts from them.

    ConfigError if centroids are asked of fewer different rows than there are to be.
    """
    rows = sample[torch.randperm(len(sample), generator=generator)[:count]]
    if how == "samples":
        return rows
    different = len(sample.unique(dim=0))
    if different < count:
        raise ConfigError(
            f"{count} centroids need as many different activations, but of the sample's {len(sample)} only {different} differ: "
            f"too many are all equal. Raise sample_rows, lower the number, or check the site"
        )
    try:
        from sklearn.cluster import KMeans
    except ImportError:
        raise ConfigError("k-means needs scikit-learn: pip install 'pellucid[geometry]', or set points 'samples'") from None
    fitted = KMeans(count, init=rows.numpy(), n_init=1, max_iter=50).fit(sample.numpy())
    return torch.from_numpy(fitted.cluster_centers_)
