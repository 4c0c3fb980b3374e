"""Dictionaries of which each rank holds a part of the latents.

All ranks see the same rows, and each holds consecutive latents: rows of encoder, encoder bias and decoder. The decoder
bias is on every rank. Plain collective calls and not DTensor: its top-k over a sharded dimension first gathers the
whole [tokens, latents] matrix, which is what must not exist; exchanging candidates is k numbers a token and rank.
"""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn.functional import linear

from pellucid.dictionaries import Dictionary, Forward
from pellucid.dictionaries.auxiliary import share_of_variance
from pellucid.dictionaries.base import mean_over_rows
from pellucid.dictionaries.relu import ReluDictionary
from pellucid.dictionaries.sparse import weighted_rows
from pellucid.dictionaries.topk import TopKDictionary
from pellucid.kernels.entries import Entries
from pellucid.training.distributed.alone import bounds
from pellucid.training.distributed.wire import Wire

SPLIT = ("encoder", "encoder_bias", "decoder")
"""Parameters with a row per latent."""


class Sharded(Dictionary):
    """One rank's latents of a dictionary; `config` is that of the whole."""

    sparse = False

    def __init__(self, whole: Dictionary, wire: Wire) -> None:
        nn.Module.__init__(self)
        self.config, self.d_in, self.d_out, self.wire = whole.config, whole.d_in, whole.d_out, wire
        self.batch_mean, self.form = mean_over_rows, None
        self.rows = bounds(whole.n_latents, wire.rank, wire.size)
        for name, value in whole.named_parameters():
            own = value.detach()[self.rows] if name in SPLIT else value.detach()
            self.register_parameter(name, nn.Parameter(own.clone()))

    @property
    def n_latents(self) -> int:
        """Number of latents on this rank."""
        return self.rows.stop - self.rows.start


class ShardedTopK(Sharded, TopKDictionary):
    """TopK over latents of all ranks: the k largest of each token are found from every rank's k largest, exactly.

    Which of several equal pre-activations survives may differ from one process.
    """

    def preactivations(self, x: Float[Tensor, "n d"]) -> Float[Tensor, "n m"]:
        """Return this rank's columns of encoder @ (x - decoder_bias) + encoder_bias."""
        return linear(self.accept(x) - _Copied.apply(self.decoder_bias, self.wire), self.encoder, self.encoder_bias)

    def forward(self, x: Float[Tensor, "n d"]) -> Forward:
        """Encode and decode x; codes and pre-activations are this rank's, the reconstruction is of all latents."""
        pre = self.preactivations(x)
        indices, values = self.keep_largest_of_all(pre, self.config.k)
        reconstruction = _Summed.apply(weighted_rows(self.decoder, indices, values), self.wire) + self.decoder_bias
        entries = Entries.of_rows(indices, self.n_latents)
        return Forward(reconstruction, pre, entries=entries, values=values.flatten())

    def penalty(self, forward: Forward, x: Float[Tensor, "n d"], dead: Bool[Tensor, " m"]) -> dict[str, Tensor]:
        """Return the auxiliary term as `TopKDictionary.penalty` defines it, over the dead latents of all ranks."""
        rows = dead.nonzero().squeeze(-1)
        n_dead = int(self.wire.sum(torch.tensor(len(rows))))
        if n_dead == 0 or self.config.aux_coefficient == 0:
            return {}
        aux_k = min(self.config.aux_k or max(self.d_in // 2, 1), n_dead)
        x = self.accept(x).detach()
        residual = x - forward.reconstruction.detach()
        read = x - self.decoder_bias.detach()
        pre = linear(read, self.encoder[rows], self.encoder_bias[rows])
        indices, values = self.keep_largest_of_all(pre, aux_k)
        own = weighted_rows(self.decoder[rows], indices, values) if len(rows) else torch.zeros_like(x)
        error = (_Summed.apply(own, self.wire) - residual).square().sum(dim=-1).mean()
        variance = (residual - residual.mean(dim=0)).square().sum(dim=-1).mean()
        size = (residual.square().sum(dim=-1) + read.square().sum(dim=-1)).mean()
        return {"auxiliary": self.config.aux_coefficient * share_of_variance(error, variance, size)}

    def keep_largest_of_all(self, pre: Float[Tensor, "n m"], k: int) -> tuple[Int[Tensor, "n c"], Float[Tensor, "n c"]]:
        """Return indices and values of those of this rank's c = min(k, m) largest that are among the k largest of all.

        The others have value 0, as have negative survivors.
        """
        count = min(k, pre.shape[1])
        values, indices = pre.topk(count, dim=-1, sorted=False)
        candidates = pre.new_full((len(pre), k), -torch.inf)
        candidates[:, :count] = values.detach()
        everyone = torch.cat(self.wire.gather(candidates), dim=1)
        places = everyone.topk(k, dim=-1, sorted=False).indices
        chosen = torch.zeros_like(everyone, dtype=torch.bool).scatter_(1, places, True)
        first = self.wire.rank * k
        return indices, torch.where(chosen[:, first : first + count], values, 0.0).relu()


class ShardedRelu(Sharded, ReluDictionary):
    """ReLU dictionary over latents of all ranks."""

    def forward(self, x: Float[Tensor, "n d"]) -> Forward:
        """Encode and decode x; codes and pre-activations are this rank's, the reconstruction is of all latents."""
        pre = self.preactivations(x)
        codes = pre.relu()
        reconstruction = _Summed.apply(codes @ self.atoms(), self.wire) + self.decoder_bias
        return Forward(reconstruction, pre, dense=codes)

    def penalty(self, forward: Forward, x: Float[Tensor, "n d"], dead: Bool[Tensor, " m"]) -> dict[str, Tensor]:
        """Return {"sparsity": l1 / d * mean over tokens of sum_i c_i}, over the latents of all ranks."""
        own = self.config.l1 / self.d_in * forward.codes.sum(dim=-1).mean()
        return {"sparsity": _Summed.apply(own, self.wire)}


SHARDED: dict[str, type[Sharded]] = {"topk": ShardedTopK, "relu": ShardedRelu}
"""Architecture -> its sharded form."""


class _Summed(torch.autograd.Function):
    """Sum over the ranks; every rank then computes the same loss, so each part's gradient is the gradient of the sum."""

    @staticmethod
    def forward(ctx: Any, value: Tensor, wire: Wire) -> Tensor:
        return wire.sum(value.clone())

    @staticmethod
    def backward(ctx: Any, *upstream: Tensor) -> tuple[Tensor, None]:
        return upstream[0], None


class _Copied(torch.autograd.Function):
    """The same value on every rank, each using it for its own latents: the gradients add up."""

    @staticmethod
    def forward(ctx: Any, value: Tensor, wire: Wire) -> Tensor:
        ctx.wire = wire
        return value.clone()

    @staticmethod
    def backward(ctx: Any, *upstream: Tensor) -> tuple[Tensor, None]:
        return ctx.wire.sum(upstream[0].clone()), None
