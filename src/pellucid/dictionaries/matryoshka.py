"""Matryoshka dictionary: nested dictionaries in one, each prefix of the latents a dictionary of its own."""

from __future__ import annotations

from itertools import accumulate, pairwise
from typing import Literal

import torch
from jaxtyping import Bool, Float
from pydantic import model_validator
from torch import Tensor
from torch.nn.functional import mse_loss

from pellucid.dictionaries.base import Forward
from pellucid.dictionaries.batch_topk import BatchTopKDictionary, LargestOfBatchConfig
from pellucid.kernels.sparse import decoded

USUAL = (1 / 32, 1 / 16, 1 / 8, 1 / 4)
"""Shares of the groups if a config does not say; the rest is the last group's."""


class MatryoshkaConfig(LargestOfBatchConfig):
    """Matryoshka dictionary: BatchTopK whose first latents also have to reconstruct on their own."""

    kind: Literal["matryoshka"] = "matryoshka"
    """Name of the architecture."""
    groups: tuple[float, ...] | None = None
    """Share of the latents in each group but the last, which has the rest; prefixes end where groups do. By default
    1/32, 1/16, 1/8 and 1/4, without those that would be empty."""
    sampled: bool = False
    """Draw as many prefixes anew for each batch instead, their lengths log-uniform between 1 and all."""

    @model_validator(mode="after")
    def _groups_fit(self) -> MatryoshkaConfig:
        if self.groups is None:
            return self
        if not self.groups or not all(share > 0 for share in self.groups) or not sum(self.groups) < 1:
            raise ValueError(f"groups are {self.groups}, wanted shares above 0 with a sum below 1, at least one")
        ends = [0, *self.ends, self.n_latents]
        if any(later <= earlier for earlier, later in pairwise(ends)):
            raise ValueError(
                f"groups {self.groups} of n_latents = {self.n_latents} end at {ends[1:]}, which leaves one empty. "
                f"Use fewer or larger groups, or more latents"
            )
        return self

    @property
    def ends(self) -> list[int]:
        """Where each prefix ends, the whole dictionary left out."""
        if self.groups is not None:
            return [round(share * self.n_latents) for share in accumulate(self.groups)]
        ends = {round(share * self.n_latents) for share in accumulate(USUAL)}
        return sorted(ends - {0, self.n_latents})


class MatryoshkaDictionary(BatchTopKDictionary):
    """Matryoshka dictionary over BatchTopK (Bussmann et al. 2025, arXiv 2503.17547).

        z as in `BatchTopKDictionary`, over all latents at once
        reconstruction_j = z[:m_j] @ decoder[:m_j] + decoder_bias for each prefix m_1 < ... < m_n = m
        loss terms = sum over j < n of MSE(reconstruction_j, x), and the auxiliary term on the whole residual

    The error of the whole dictionary, j = n, is the objective's own term, so that under 'local' all prefixes weigh the same.
    Under an end-to-end objective the shorter prefixes are still judged by their error at the site.
    `drawn` counts the batches that prefixes were drawn for (`sampled`), so that a resume draws the same.
    """

    kind = "matryoshka"
    Config = MatryoshkaConfig
    config: MatryoshkaConfig
    drawn: Float[Tensor, ""]

    def create_tensors(self, m: int, d: int) -> None:
        """Register what every dictionary has, and the counter."""
        super().create_tensors(m, d)
        self.register_buffer("drawn", torch.zeros(()))

    def penalty(self, forward: Forward, x: Float[Tensor, "n d"], dead: Bool[Tensor, " m"]) -> dict[str, Tensor]:
        """Return {"prefixes": sum over the shorter prefixes of their MSE}, and "auxiliary" if a latent is dead."""
        target = self.accept(x).detach()
        errors = [mse_loss(part, target) for part in self.prefix_reconstructions(forward, self.prefix_ends())]
        prefixes = {"prefixes": torch.stack(errors).sum()} if errors else {}  # one latent has no shorter prefix
        return prefixes | super().penalty(forward, x, dead)

    def after_step(self) -> None:
        """Bring atoms back to unit length; the next batch draws other prefixes."""
        super().after_step()
        self.drawn += 1

    def prefix_ends(self) -> list[int]:
        """Return where the prefixes of the current batch end, the whole dictionary left out."""
        if not self.config.sampled:
            return self.config.ends
        generator = torch.Generator().manual_seed(int(self.drawn))
        lengths = self.n_latents ** torch.rand(len(self.config.ends), generator=generator)
        return sorted({min(int(length), self.n_latents - 1) for length in lengths})

    def prefix_reconstructions(self, forward: Forward, ends: list[int]) -> list[Float[Tensor, "n d"]]:
        """Return what each prefix of the latents reconstructs; `ends` rise."""
        parts = [self._part(forward, start, end) for start, end in pairwise([0, *ends])]
        return list(accumulate(parts, initial=self.decoder_bias.expand_as(forward.reconstruction)))[1:]

    def _part(self, forward: Forward, start: int, end: int) -> Float[Tensor, "n d"]:
        """Return what the latents from `start` up to `end` add to the reconstruction."""
        if forward.entries is None or forward.values is None or self.form is None:
            return forward.codes[:, start:end] @ self.decoder[start:end]
        inside = (forward.entries.latents >= start) & (forward.entries.latents < end)
        return decoded(self.form, forward.entries.only(inside), forward.values[inside], self.decoder)
