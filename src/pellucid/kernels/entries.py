"""Which codes of a batch may be nonzero: the layout that every sparse kernel reads."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor


@dataclass(frozen=True)
class ByLatent:
    """The same entries ordered by latent, and by token within a latent, so that sums do not depend on threads."""

    starts: Int[Tensor, " m_plus_1"]
    """Entries of latent i are starts[i] up to starts[i + 1]."""
    order: Int[Tensor, " e"]
    """Place of each entry in the order by token."""
    tokens: Int[Tensor, " e"]
    """Token of each entry."""


@dataclass(frozen=True)
class Entries:
    """Places (token, latent) of the codes kept from n tokens, ordered by token (compressed sparse rows)."""

    starts: Int[Tensor, " n_plus_1"]
    """Entries of token t are starts[t] up to starts[t + 1]."""
    latents: Int[Tensor, " e"]
    """Latent of each entry; within a token in no particular order."""
    n_latents: int
    """Number m of latents."""

    @staticmethod
    def of_rows(indices: Int[Tensor, "n k"], n_latents: int) -> Entries:
        """Return the entries of n tokens that keep k latents each."""
        n, k = indices.shape
        return Entries(torch.arange(n + 1, device=indices.device) * k, indices.reshape(-1), n_latents)

    @property
    def n_tokens(self) -> int:
        """Number n of tokens."""
        return len(self.starts) - 1

    @cached_property
    def tokens(self) -> Int[Tensor, " e"]:
        """Token of each entry."""
        counts = self.starts.diff()
        return torch.repeat_interleave(torch.arange(self.n_tokens, device=counts.device), counts, output_size=len(self.latents))

    @cached_property
    def by_latent(self) -> ByLatent:
        """The entries ordered by latent; made when first asked for."""
        ordered, order = torch.sort(self.latents.to(torch.int32), stable=True)  # half the digits to sort by
        # Not bincount: on a GPU it would make the host wait.
        edges = torch.arange(self.n_latents + 1, dtype=torch.int32, device=order.device)
        starts = torch.searchsorted(ordered, edges)
        return ByLatent(starts, order, self.tokens[order])

    def only(self, keep: Bool[Tensor, " e"]) -> Entries:
        """Return the marked entries."""
        starts = torch.zeros_like(self.starts)
        torch.cumsum(torch.bincount(self.tokens[keep], minlength=self.n_tokens), 0, out=starts[1:])
        return Entries(starts, self.latents[keep], self.n_latents)

    @staticmethod
    def cat(parts: Sequence[Entries]) -> Entries:
        """Return the entries of several batches as of one, tokens in that order."""
        counts = torch.cat([part.starts.diff() for part in parts])
        starts = torch.cat([counts.new_zeros(1), counts.cumsum(0)])
        return Entries(starts, torch.cat([part.latents for part in parts]), parts[0].n_latents)

    def dense(self, values: Float[Tensor, " e"]) -> Float[Tensor, "n m"]:
        """Return the codes as a matrix; gradients flow to the values."""
        matrix = values.new_zeros(self.n_tokens * self.n_latents)
        places = self.tokens * self.n_latents + self.latents
        return matrix.scatter(0, places, values).reshape(self.n_tokens, self.n_latents)
