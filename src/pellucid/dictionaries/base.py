"""What every dictionary is: parameters, forward pass and the hooks the trainer calls."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Bool, Float, Int
from pydantic import Field
from torch import Tensor, nn

from pellucid.core.config import Config
from pellucid.core.errors import SiteError

LARGEST = 2**28
"""Widest dictionary or site accepted; keeps sizes read from a file within what torch can address."""


class ArchitectureBase(Config):
    """What every architecture's config has; `kind` (a Literal) is added by each."""

    n_latents: int = Field(default=2304, ge=1, le=LARGEST)
    """Number of latents (dictionary width)."""


@dataclass
class Forward:
    """One pass of a dictionary over n activations.

    A sparse pass fills `indices` and `values` (the latents kept in each row, in no particular order) and leaves `dense`
    out; `codes` then builds the dense form when it is first asked for.
    """

    pre: Float[Tensor, "n m"]
    """Encoder output before the activation function."""
    reconstruction: Float[Tensor, "n d"]
    """What stands in for the activations, in their units."""
    dense: Float[Tensor, "n m"] | None = None
    """Dense codes, if they were made on the way."""
    indices: Int[Tensor, "n k"] | None = None
    """Latents kept in each row; every other code is 0."""
    values: Float[Tensor, "n k"] | None = None
    """Codes of the kept latents; may hold zeros."""

    @property
    def codes(self) -> Float[Tensor, "n m"]:
        """Dense codes [n, m], at least 0; gradients flow through them."""
        if self.dense is None:
            assert self.indices is not None and self.values is not None, "a Forward holds dense or sparse codes"
            self.dense = scatter_codes(self.indices, self.values, self.pre.shape[-1])
        return self.dense


def mean_over_rows(values: Float[Tensor, "n *rest"]) -> Float[Tensor, "*rest"]:
    """Return the mean over the first dimension."""
    return values.mean(dim=0)


def scatter_codes(indices: Int[Tensor, "n k"], values: Float[Tensor, "n k"], n_latents: int) -> Float[Tensor, "n m"]:
    """Spread sparse codes into their dense form [n, n_latents]."""
    return values.new_zeros(len(values), n_latents).scatter(1, indices, values)


class Dictionary(nn.Module):
    """Encoder and decoder over one site of width d, with m latents; base of every architecture.

    Orientation of the parameters, the same everywhere: one row per latent.
      encoder      [m, d]   pre = encoder @ x + ...
      encoder_bias [m]
      decoder      [m, d]   reconstruction = codes @ decoder + decoder_bias; row i is the atom of latent i
      decoder_bias [d]

    A subclass sets `kind` and `Config`, and writes `preactivations`, `encode`, `decode`, `forward` and `initialise`.
    """

    kind: ClassVar[str]
    Config: ClassVar[type[ArchitectureBase]]
    parallel: ClassVar[tuple[str, ...]] = ("sites",)
    """Ways in which ranks may train it together (`parallel` of a fit). 'data' asks that the codes of a row depend on that row
    alone and that whatever else depends on the batch goes through `batch_mean`; 'latents' asks for a sharded form."""

    def __init__(self, config: ArchitectureBase, d_in: int) -> None:
        super().__init__()
        self.config = config
        self.d_in = d_in
        self.batch_mean: Callable[[Tensor], Tensor] = mean_over_rows
        """Mean over the tokens of a batch, [n, ...] -> [...], without gradients across ranks where ranks share the batch."""
        self.encoder = nn.Parameter(torch.zeros(config.n_latents, d_in))
        self.encoder_bias = nn.Parameter(torch.zeros(config.n_latents))
        self.decoder = nn.Parameter(torch.zeros(config.n_latents, d_in))
        self.decoder_bias = nn.Parameter(torch.zeros(d_in))

    @property
    def n_latents(self) -> int:
        """Number of latents m."""
        return self.config.n_latents

    def preactivations(self, x: Float[Tensor, "n d"]) -> Float[Tensor, "n m"]:
        """Return the encoder's output before the activation function."""
        raise NotImplementedError

    def encode(self, x: Float[Tensor, "n d"]) -> Float[Tensor, "n m"]:
        """Return the dense codes of x, at least 0."""
        raise NotImplementedError

    def decode(self, codes: Float[Tensor, "n m"]) -> Float[Tensor, "n d"]:
        """Return the reconstruction that dense codes stand for."""
        raise NotImplementedError

    def forward(self, x: Float[Tensor, "n d"]) -> Forward:
        """Encode and decode x. SiteError if x has another width, or a dtype that would lose precision."""
        raise NotImplementedError

    def penalty(self, forward: Forward, x: Float[Tensor, "n d"], dead: Bool[Tensor, " m"]) -> dict[str, Tensor]:
        """Return what this architecture adds to the loss: name -> scalar, coefficients already multiplied in.

        `forward` is this dictionary's pass over x; `dead` marks the latents that count as dead by the trainer's rule.
        """
        return {}

    def initialise(self, generator: torch.Generator | None, sample: Float[Tensor, "n d"] | None) -> None:
        """Set every parameter to its starting value, using a sample of activations where the config needs one."""
        raise NotImplementedError

    def before_step(self) -> None:
        """Change gradients before clipping and the optimizer's step; by default nothing."""

    def after_step(self) -> None:
        """Bring parameters back to where they belong after the optimizer's step; by default nothing."""

    def atoms(self) -> Float[Tensor, "m d"]:
        """Return the decoder directions as unit rows; gradients flow through the normalisation."""
        return nn.functional.normalize(self.decoder, dim=-1)

    def accept(self, x: Float[Tensor, "n d"]) -> Float[Tensor, "n d"]:
        """Return x in the parameters' dtype.

        Raises SiteError if the width differs from d_in, or if the cast would lose precision.
        """
        if x.shape[-1] != self.d_in:
            raise SiteError(
                f"the {self.kind} dictionary reads activations of width {self.d_in}, got width {x.shape[-1]}. "
                f"Is it used at the site it was trained on?"
            )
        dtype = self.encoder.dtype
        if torch.promote_types(x.dtype, dtype) != dtype:
            raise SiteError(
                f"the {self.kind} dictionary holds {dtype} and would round activations of {x.dtype}. "
                f"Cast one of them: dictionary.to({x.dtype}) or activations.to({dtype})."
            )
        return x.to(dtype)
