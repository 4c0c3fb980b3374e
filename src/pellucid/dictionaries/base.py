"""What every dictionary is: parameters, forward pass and the hooks the trainer calls."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Bool, Float, Int
from pydantic import Field
from torch import Tensor, nn

from pellucid.core.config import Config
from pellucid.core.errors import ConfigError, SiteError
from pellucid.dictionaries.directions import AtomInit
from pellucid.kernels.entries import Entries
from pellucid.kernels.forms import Form

LARGEST = 2**28
"""Widest dictionary or site accepted; keeps sizes read from a file within what torch can address."""


class ArchitectureBase(Config):
    """What every architecture's config has; `kind` (a Literal) is added by each."""

    n_latents: int = Field(default=2304, ge=1, le=LARGEST)
    """Number of latents (dictionary width)."""
    atom_init: AtomInit = "own"
    """Where atoms point at the start: as the architecture has it; in orthonormal sets; along singular vectors of the site's
    weights, unit vectors of its dimensions, or activations of a sample (these three with `atom_noise`)."""
    atom_noise: float = Field(default=0.1, ge=0, allow_inf_nan=False)
    """Length of the random vector added to each of these unit directions."""


@dataclass
class Forward:
    """One pass of a dictionary over n activations.

    A sparse pass fills `entries` and `values` (the codes that may be nonzero) and leaves `dense` out; `codes` then
    builds the dense form when it is first asked for.
    """

    reconstruction: Float[Tensor, "n o"]
    """What stands in for the activations, in their units; for a transcoder those of its target."""
    pre: Float[Tensor, "n m"] | Float[Tensor, " e"] | None = None
    """Encoder output before the activation function: whole, or of the entries alone."""
    dense: Float[Tensor, "n m"] | None = None
    """Dense codes, if they were made on the way."""
    entries: Entries | None = None
    """Which codes may be nonzero; every other code is 0."""
    values: Float[Tensor, " e"] | None = None
    """Codes of the entries; may hold zeros."""
    target: Float[Tensor, "n o"] | None = None
    """What the reconstruction should be, set by who trains it; None where that is the input itself."""

    @property
    def codes(self) -> Float[Tensor, "n m"]:
        """Dense codes [n, m], at least 0; gradients flow through them."""
        if self.dense is None:
            assert self.entries is not None and self.values is not None, "a Forward holds dense or sparse codes"
            self.dense = self.entries.dense(self.values)
        return self.dense

    @property
    def kept(self) -> Float[Tensor, "..."]:
        """Every code that may be nonzero, in whichever form there is: for sums and counts over all codes."""
        return self.codes if self.values is None else self.values

    @staticmethod
    def cat(parts: Sequence[Forward]) -> Forward:
        """Return several passes as one over all their activations, in that order."""
        if len(parts) == 1:
            return parts[0]
        reconstruction = torch.cat([part.reconstruction for part in parts])
        pre = (
            None if any(part.pre is None for part in parts) else torch.cat([part.pre for part in parts if part.pre is not None])
        )
        if any(part.entries is None for part in parts):
            return Forward(reconstruction, pre, dense=torch.cat([part.codes for part in parts]))
        entries = Entries.cat([part.entries for part in parts if part.entries is not None])
        return Forward(reconstruction, pre, entries=entries, values=torch.cat([part.kept for part in parts]))


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
    A transcoder's decoder has the width o of its target in the place of d.

    A subclass sets `kind` and `Config`, and writes `preactivations`, `encode`, `decode`, `forward` and `initialise`. What
    it needs beside parameters is a buffer of the same dtype: then it is in its file, in checkpoints and in warm starts.

    Where training selects latents by another rule than inference, `self.training` decides: `make_dictionary` returns a
    dictionary in training mode, `load_dictionary` in inference mode; the trainer and the evaluation set the mode they need.
    """

    kind: ClassVar[str]
    Config: ClassVar[type[ArchitectureBase]]
    sparse: ClassVar[bool] = False
    """True if `forward` can use sparse kernels: those of `form`, the plain dense way where that is None."""
    parallel: ClassVar[tuple[str, ...]] = ("sites",)
    """Ways in which ranks may train it together (`parallel` of a fit). 'data' asks that the codes of a row depend on that row
    alone and that whatever else depends on the batch goes through `batch_mean`; 'latents' asks for a sharded form."""

    transcodes: ClassVar[bool] = False
    """True if it can write another site than it reads; its class then takes `d_out` too."""
    by_gradient: ClassVar[bool] = True
    """False if `learn` is its whole update: no gradient, no optimizer, and only the local objective."""
    guided: ClassVar[bool] = False
    """True if it wants the gradient of the host's loss at its site before each pass of training (`guide`)."""

    def __init__(self, config: ArchitectureBase, d_in: int, d_out: int | None = None) -> None:
        super().__init__()
        self.config = config
        self.d_in, self.d_out = d_in, d_out or d_in
        self.form: Form | None = None
        self.batch_mean: Callable[[Tensor], Tensor] = mean_over_rows
        """Mean over the tokens of a batch, [n, ...] -> [...], without gradients across ranks where ranks share the batch."""
        self.create_tensors(config.n_latents, d_in)

    def create_tensors(self, m: int, d: int) -> None:
        """Register the parameters and buffers, all zero; a subclass that ties some of them has properties in their place."""
        self.encoder = nn.Parameter(torch.zeros(m, d))
        self.encoder_bias = nn.Parameter(torch.zeros(m))
        self.decoder = nn.Parameter(torch.zeros(m, d))
        self.decoder_bias = nn.Parameter(torch.zeros(d))

    @property
    def dtype(self) -> torch.dtype:
        """Type of the parameters."""
        return next(self.parameters()).dtype

    @property
    def weight_decay(self) -> float:
        """Decoupled weight decay of `decayed`, per unit of learning rate: what AdamW takes."""
        return 0.0

    def decayed(self) -> list[nn.Parameter]:
        """Return the parameters that `weight_decay` holds for."""
        return []

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

    def initialise_pair(
        self,
        generator: torch.Generator | None,
        sample: Float[Tensor, "n d"] | None,
        target: Float[Tensor, "n o"] | None,
    ) -> None:
        """Do what `initialise` does for a dictionary whose target's activations at the same positions are `target`."""
        self.initialise(generator, sample)

    @torch.no_grad()
    def place_atoms(self, directions: Float[Tensor, "m o"]) -> None:
        """Turn the atoms, as `initialise` left them, to unit directions; lengths stay.

        Rows of the encoder that point along their atom turn with it. ConfigError if the atoms are made of something else.
        """
        if "decoder" not in self._parameters:
            raise ConfigError(f"the atoms of a {self.kind} dictionary are not free to start anywhere: use atom_init 'own'")
        cosine = torch.nn.functional.cosine_similarity
        tied = "encoder" in self._parameters and self.encoder.shape == self.decoder.shape
        tied = tied and bool((cosine(self.encoder, self.decoder, dim=1) > 0.999).all())
        for rows in (self.decoder, self.encoder) if tied else (self.decoder,):
            rows.copy_(directions * rows.norm(dim=1, keepdim=True))

    def begin_step(self, progress: float) -> None:
        """Hear, before each update, how much of the training is done, from 0 to 1; by default nothing changes."""

    def learn(self, x: Float[Tensor, "n d"], forward: Forward) -> None:
        """Take one update for a batch and what `forward` gave for it, where `by_gradient` is False."""
        raise NotImplementedError

    def guide(self, gradient: Float[Tensor, "n d"]) -> None:
        """Hear the gradient of the host's summed loss at the rows of the next pass; by default nothing comes of it."""

    def before_step(self) -> None:
        """Change gradients before clipping and the optimizer's step; by default nothing."""

    def after_step(self) -> None:
        """Bring parameters back to where they belong after the optimizer's step; by default nothing."""

    def problems(self) -> list[str]:
        """Return what is wrong with the values held, a sentence each: for files that say what no training can have left."""
        return []

    def atoms(self) -> Float[Tensor, "m d"]:
        """Return the decoder directions as unit rows; gradients flow through the normalisation."""
        return nn.functional.normalize(self.decoder, dim=-1)

    @property
    def additive(self) -> bool:
        """True if the reconstruction is decode(0) and a sum over latents: then each has one direction, its contribution."""
        return True

    def contributions(self) -> Float[Tensor, "m d"]:
        """Return what one unit of each code adds: decode(c) - decode(0) = c @ contributions where decoders are additive."""
        return self.decoder

    def accept(self, x: Float[Tensor, "n d"]) -> Float[Tensor, "n d"]:
        """Return x in the parameters' dtype.

        Raises SiteError if the width differs from d_in, or if the cast would lose precision.
        """
        if x.shape[-1] != self.d_in:
            raise SiteError(
                f"the {self.kind} dictionary reads activations of width {self.d_in}, got width {x.shape[-1]}. "
                f"Is it used at the site it was trained on?"
            )
        dtype = self.dtype
        if torch.promote_types(x.dtype, dtype) != dtype:
            raise SiteError(
                f"the {self.kind} dictionary holds {dtype} and would round activations of {x.dtype}. "
                f"Cast one of them: dictionary.to({x.dtype}) or activations.to({dtype})."
            )
        return x.to(dtype)
