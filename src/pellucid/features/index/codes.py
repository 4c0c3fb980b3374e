"""The positive codes of a batch as (position, latent, code), without its [positions, latents] matrix."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from pellucid.core.errors import NumericsError, SiteError
from pellucid.data import Batch
from pellucid.dictionaries import Dictionary, inference
from pellucid.hosts import Site
from pellucid.kernels.forms import get_form, usable
from pellucid.kernels.sparse import CHUNK_NUMBERS

SMALL = 1 << 24
"""Numbers of a decoder below which a compiled form is not worth loading."""


@dataclass(frozen=True)
class Codes:
    """Positive codes of one dictionary on a batch, ordered by row of activations."""

    rows: Int[Tensor, " e"]
    """Which of the kept positions, counted through the batch."""
    latents: Int[Tensor, " e"]
    values: Float[Tensor, " e"]
    """Codes, above 0."""


def use_kernels(dictionary: Dictionary) -> None:
    """Give a sparse dictionary the fastest kernels there are for it here, if it is large enough for that to matter."""
    weights = dictionary.decoder
    names = usable(weights.device, weights.dtype)
    compiled = [name for name in ("triton", "numba") if name in names]
    if dictionary.sparse and weights.numel() >= SMALL and compiled:
        dictionary.form = get_form(compiled[0])


@torch.no_grad()
def positive_codes(dictionary: Dictionary, activations: Float[Tensor, "n d"], site: Site) -> Codes:
    """Return the codes above 0 of n activations, at most CHUNK_NUMBERS pre-activations at a time.

    Raises NumericsError if an activation is not finite.
    """
    if not bool(activations.isfinite().all()):
        bad = int((~activations.isfinite().all(dim=-1)).sum())
        raise NumericsError(
            f"activations at site '{site}' are not finite at {bad} of {len(activations)} positions. "
            f"Check the host's weights and its dtype."
        )
    found, first = [], 0
    with inference([dictionary]):
        for part in activations.float().split(max(1, CHUNK_NUMBERS // dictionary.n_latents)):
            found.append(_of_chunk(dictionary, part, first))
            first += len(part)
    if not found:
        nowhere = torch.empty(0, dtype=torch.int64, device=activations.device)
        return Codes(nowhere, nowhere, activations.new_empty(0))
    return Codes(*(torch.cat(parts) for parts in zip(*((f.rows, f.latents, f.values) for f in found), strict=True)))


def flat_positions(batch: Batch, n: int, site: Site) -> Int[Tensor, " n"]:
    """Return the place row * context + position of each of the n kept positions; SiteError if the site has another number."""
    ids = batch.inputs["input_ids"]
    keep: Bool[Tensor, "batch context"] = torch.ones_like(ids, dtype=torch.bool) if batch.keep is None else batch.keep
    places = keep.flatten().nonzero().squeeze(-1)
    if len(places) != n:
        raise SiteError(
            f"site '{site}' gives {n} rows for {len(places)} kept tokens of {tuple(ids.shape)}; wanted one value a token"
        )
    return places


def _of_chunk(dictionary: Dictionary, part: Float[Tensor, "n d"], first: int) -> Codes:
    if dictionary.form is not None:
        forward = dictionary(part)
        if forward.entries is not None and forward.values is not None:
            kept = forward.values > 0
            entries = forward.entries
            return Codes(entries.tokens[kept] + first, entries.latents[kept], forward.values[kept].float())
        dictionary.form = None  # dense at inference, or here: then its forward pass would only decode in vain
    codes = dictionary.encode(part)
    rows, latents = codes.gt(0).nonzero(as_tuple=True)
    return Codes(rows + first, latents, codes[rows, latents].float())
