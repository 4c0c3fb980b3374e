"""The auxiliary term that gives dead latents something to learn (Gao et al. 2024, 'AuxK')."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float
from pydantic import Field
from torch import Tensor
from torch.nn.functional import linear

from pellucid.dictionaries.base import ArchitectureBase, Dictionary, Forward
from pellucid.dictionaries.sparse import keep_largest, weighted_rows


class AuxiliaryConfig(ArchitectureBase):
    """Settings of the auxiliary term."""

    aux_k: int | None = Field(default=None, ge=1)
    """Dead latents that model the residual in the auxiliary term; default half the site's width."""
    aux_coefficient: float = Field(default=1 / 32, ge=0, allow_inf_nan=False)
    """Weight of the auxiliary term; 0 turns it off."""


def auxiliary_term(
    dictionary: Dictionary, forward: Forward, x: Float[Tensor, "n d"], dead: Bool[Tensor, " m"]
) -> dict[str, Tensor]:
    """Return {"auxiliary": aux_coefficient * L_aux}, or nothing if no latent is dead or the coefficient is 0.

        pre = encoder @ (x - decoder_bias) + encoder_bias
        L_aux = mean over tokens of |e - e_hat|^2 / mean over tokens of |e - mean e|^2, 0 where all e are equal

    The target e = x - reconstruction is detached; e_hat = ReLU(the aux_k largest pre-activations among the dead)
    @ their atoms, without decoder_bias. Gradients reach the dead latents' encoder rows, encoder biases and decoder
    rows, and nothing else. The dictionary's config is an `AuxiliaryConfig`.
    """
    x = dictionary.accept(x).detach()
    # Computed again with the input detached: forward.pre would carry gradients to decoder_bias and to the site.
    return residual_term(dictionary, x - forward.reconstruction.detach(), x - dictionary.decoder_bias.detach(), dead)


def residual_term(
    dictionary: Dictionary, residual: Float[Tensor, "n o"], read: Float[Tensor, "n d"], dead: Bool[Tensor, " m"]
) -> dict[str, Tensor]:
    """Return the auxiliary term for this residual and for what the encoder reads, both without gradients."""
    config = dictionary.config
    assert isinstance(config, AuxiliaryConfig)
    rows = dead.nonzero().squeeze(-1)
    if len(rows) == 0 or config.aux_coefficient == 0:
        return {}
    aux_k = min(config.aux_k or max(dictionary.d_out // 2, 1), len(rows))
    pre = linear(read, dictionary.encoder[rows], dictionary.encoder_bias[rows])
    indices, values = keep_largest(pre, aux_k)
    error = (weighted_rows(dictionary.decoder[rows], indices, values) - residual).square().sum(dim=-1).mean()
    variance = dictionary.batch_mean((residual - dictionary.batch_mean(residual)).square().sum(dim=-1))
    size = dictionary.batch_mean(residual.square().sum(dim=-1) + read.square().sum(dim=-1))
    return {"auxiliary": config.aux_coefficient * share_of_variance(error, variance, size)}


def share_of_variance(error: Float[Tensor, ""], variance: Float[Tensor, ""], size: Float[Tensor, ""]) -> Float[Tensor, ""]:
    """Return error / variance, 0 where the variance is NaN or no more than rounding leaves of vectors that are all equal.

    `size` is the mean square length of what the residuals were computed from. A batch of equal rows has residuals that
    differ in their last digits: dividing by that would make the term, and its gradient, of order 1e13.
    """
    defined = variance > (10 * torch.finfo(variance.dtype).eps) ** 2 * size
    # Dividing by 1 where it is not defined keeps the gradient of the other branch finite.
    return torch.where(defined, error / torch.where(defined, variance, 1.0), 0.0)
