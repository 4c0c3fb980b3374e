"""Codebook: an activation is replaced by the sum of the k codes most like it."""

from __future__ import annotations

from typing import Literal

import torch
from jaxtyping import Bool, Float
from pydantic import Field, model_validator
from torch import Tensor, nn
from torch.nn.functional import layer_norm, linear, mse_loss, normalize

from pellucid.core.errors import ConfigError
from pellucid.dictionaries.base import ArchitectureBase, Dictionary, Forward, scatter_codes


class CodebookConfig(ArchitectureBase):
    """Codebook: k codes stand in for the activation, each wholly or not at all."""

    kind: Literal["codebook"] = "codebook"
    """Name of the architecture."""
    k: int = Field(default=8, ge=1)
    """Codes that replace an activation (of each group)."""
    n_groups: int = Field(default=1, ge=1)
    """Equal pieces of the activation with a codebook of their own each, such as the heads of an attention output."""
    mean: bool = False
    """Divide the sum of the codes by k."""
    pull: float = Field(default=1.0, ge=0, allow_inf_nan=False)
    """Weight of the mean squared error that pulls codes towards the activations they replace."""
    commitment: float = Field(default=0.0, ge=0, allow_inf_nan=False)
    """Weight of the error that pulls activations towards their codes; without effect on a frozen host."""
    start: Literal["samples", "random"] = "samples"
    """Codes start at rows of the sample, or at random directions as long as its rows are."""

    @model_validator(mode="after")
    def _fits(self) -> CodebookConfig:
        if self.n_latents % self.n_groups:
            raise ValueError(f"n_latents = {self.n_latents} codes cannot be shared out evenly among n_groups = {self.n_groups}")
        if self.k > self.n_latents // self.n_groups:
            raise ValueError(f"k = {self.k} is more than the {self.n_latents // self.n_groups} codes of a group")
        return self


class CodebookDictionary(Dictionary):
    """Codebook features (Tamkin et al. 2023, arXiv 2310.17230).

        s = cosines of layer_norm(x) (without gain or bias) with every code
        z_i = 1 for the k largest s (1 / k with `mean`), else 0;  reconstruction = z @ codes
        pull = pull * MSE(reconstruction, x held fixed),  commitment = commitment * MSE(reconstruction held fixed, x)

    The backward pass is straight through: the gradient that arrives at the reconstruction is passed on to the chosen codes
    and, unchanged, to x; the choice has none. With groups, each piece of x has its own codes, norm and choice; rows of
    `decoder` are zero outside their group's piece, of which only the inside is a parameter (`codes`).
    """

    kind = "codebook"
    Config = CodebookConfig
    config: CodebookConfig
    parallel = ("data", "sites")

    def __init__(self, config: CodebookConfig, d_in: int) -> None:
        if d_in % config.n_groups:
            raise ConfigError(f"a site of width {d_in} cannot be cut into n_groups = {config.n_groups} equal pieces")
        super().__init__(config, d_in)

    def create_tensors(self, m: int, d: int) -> None:
        """Register the codes, each as wide as a group's piece."""
        self.codes = nn.Parameter(torch.zeros(m, d // self.config.n_groups))

    @property
    def decoder(self) -> Float[Tensor, "m d"]:  # type: ignore[override]
        """Codes as rows of the site's width."""
        groups, (m, piece) = self.config.n_groups, self.codes.shape
        rows = self.codes.view(groups, m // groups, piece)
        return torch.block_diag(*rows) if groups > 1 else self.codes

    @property
    def encoder(self) -> Float[Tensor, "m d"]:  # type: ignore[override]
        """Unit codes, which pre-activations are cosines with."""
        return normalize(self.decoder, dim=-1)

    def preactivations(self, x: Float[Tensor, "n d"]) -> Float[Tensor, "n m"]:
        """Return the cosine of each code with the normalised activation (its own piece); SiteError if x does not fit."""
        pieces = self.accept(x).unflatten(-1, (self.config.n_groups, -1))
        unit = normalize(layer_norm(pieces, pieces.shape[-1:]), dim=-1).flatten(1)
        return linear(unit, self.encoder)

    def encode(self, x: Float[Tensor, "n d"]) -> Float[Tensor, "n m"]:
        """Return 1 (or 1 / k) for the chosen codes, 0 for the others."""
        return self._choice(self.preactivations(x))

    def decode(self, codes: Float[Tensor, "n m"]) -> Float[Tensor, "n d"]:
        """Return codes @ decoder."""
        return codes @ self.decoder

    def forward(self, x: Float[Tensor, "n d"]) -> Forward:
        """Replace x by its codes; SiteError if x does not fit."""
        x = self.accept(x)
        pre = self.preactivations(x.detach())
        codes = self._choice(pre)
        return Forward(self.decode(codes) + (x - x.detach()), pre, dense=codes)

    def penalty(self, forward: Forward, x: Float[Tensor, "n d"], dead: Bool[Tensor, " m"]) -> dict[str, Tensor]:
        """Return "pull" and "commitment", each unless its coefficient is 0; see the class."""
        x, replaced, terms = self.accept(x), self.decode(forward.codes), {}
        if self.config.pull > 0:
            terms["pull"] = self.config.pull * mse_loss(replaced, x.detach())
        if self.config.commitment > 0:
            terms["commitment"] = self.config.commitment * mse_loss(x, replaced.detach())
        return terms

    @torch.no_grad()
    def initialise(self, generator: torch.Generator | None, sample: Float[Tensor, "n d"] | None) -> None:
        """Start the codes at pieces of the sample divided by what is summed, or at random directions of the same length.

        Raises ConfigError if there is no sample, or fewer rows than codes of a group to be taken from them.
        """
        groups, (m, piece) = self.config.n_groups, self.codes.shape
        rows = 0 if sample is None else len(sample)
        if sample is None or rows == 0 or (self.config.start == "samples" and rows < m // groups):
            raise ConfigError(
                f"{m // groups} codes are to start at rows of a sample, got {rows}: a codebook cannot be larger than its data. "
                f"Raise sample_rows, lower n_latents, or set start 'random'"
            )
        pieces = sample.float().unflatten(-1, (groups, piece)).transpose(0, 1)
        share = 1 if self.config.mean else self.config.k
        if self.config.start == "samples":
            chosen = [part[torch.randperm(rows, generator=generator)[: m // groups]] for part in pieces]
            self.codes.copy_(torch.cat(chosen) / share)
        else:
            directions = normalize(torch.randn(m, piece, generator=generator), dim=-1).view(groups, m // groups, piece)
            self.codes.copy_((directions * pieces.norm(dim=-1).mean(dim=1).view(groups, 1, 1) / share).flatten(0, 1))

    @torch.no_grad()
    def place_atoms(self, directions: Float[Tensor, "m o"]) -> None:
        """Turn each code to its own piece of a direction; lengths stay."""
        groups = self.config.n_groups
        cut = directions.view(groups, self.n_latents // groups, groups, -1)
        pieces = torch.cat([cut[group, :, group] for group in range(groups)])
        self.codes.copy_(normalize(pieces, dim=1) * self.codes.norm(dim=1, keepdim=True))

    @torch.no_grad()
    def _choice(self, pre: Float[Tensor, "n m"]) -> Float[Tensor, "n m"]:
        groups, k = self.config.n_groups, self.config.k
        chosen = pre.unflatten(-1, (groups, -1)).topk(k, dim=-1, sorted=False).indices
        offsets = torch.arange(groups, device=pre.device).unsqueeze(-1) * (self.n_latents // groups)
        indices = (chosen + offsets).flatten(1)
        return scatter_codes(
            indices, torch.full_like(indices, 1 / k if self.config.mean else 1, dtype=pre.dtype), self.n_latents
        )
