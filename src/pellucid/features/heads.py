"""What each attention head has to do with a latent of a dictionary on `layers.N.attn.z`."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from pellucid.core.errors import ConfigError, SiteError
from pellucid.dictionaries import Dictionary
from pellucid.hosts import Host, Site


def n_heads_at(host: Host, site: Site) -> int:
    """Return how many heads lie side by side at a site such as `layers.8.attn.z`.

    Read from the attention module or the host's config (`num_heads`, `num_attention_heads`, `n_head`); SiteError if
    neither says.
    """
    parent = host.module.get_submodule(site.path.rpartition(".")[0])
    for holder in (parent, getattr(parent, "config", None), getattr(host.module, "config", None)):
        for name in ("num_heads", "num_attention_heads", "n_head"):
            if isinstance(found := getattr(holder, name, None), int):
                return found
    raise SiteError(f"neither the modules round site '{site}' nor the config of {host.name} says how many heads it has")


def by_head(rows: Float[Tensor, "n d"], n_heads: int) -> Float[Tensor, "n heads width"]:
    """Return rows cut into the heads they are made of, in order; ConfigError if they cannot be cut evenly."""
    if n_heads < 1 or rows.shape[1] % n_heads:
        raise ConfigError(f"rows of width {rows.shape[1]} are not {n_heads} heads of one width")
    return rows.unflatten(1, (n_heads, -1))


def head_shares(dictionary: Dictionary, n_heads: int) -> Float[Tensor, "m heads"]:
    """Return how much of each atom is written at each head, shares that sum to 1 (Kissane et al. 2024, arXiv 2406.17759).

        share[i, h] = |decoder_i at head h| / sum over heads of |decoder_i at that head|

    An atom of zeros has equal shares. ConfigError if the site's width is not n_heads equal parts.
    """
    norms = by_head(dictionary.decoder.detach(), n_heads).norm(dim=-1)
    total = norms.sum(dim=-1, keepdim=True)
    return torch.where(total > 0, norms / total, 1 / n_heads)


def head_attributions(
    dictionary: Dictionary, z: Float[Tensor, "n d"], n_heads: int, latents: list[int] | None = None
) -> Float[Tensor, "n c heads"]:
    """Return the direct feature attribution (DFA) of each head to pre-activations, for some latents or all.

        dfa[t, i, h] = encoder_i at head h . (z_t - centre) at head h

    where `centre` is what the encoder subtracts (the decoder bias, or nothing), found by trying. They sum over heads to
    the pre-activation minus the encoder's bias. Raises ConfigError if the width is not n_heads equal parts, or if this
    architecture's pre-activations are not such a sum.
    """
    z, wanted = dictionary.accept(z), list(range(dictionary.n_latents)) if latents is None else latents
    encoder = dictionary.encoder.detach()[wanted]
    centre = _centre(dictionary, z)
    return torch.einsum("nhw,mhw->nmh", by_head(z - centre, n_heads), by_head(encoder, n_heads))


@torch.no_grad()
def _centre(dictionary: Dictionary, z: Float[Tensor, "n d"]) -> Float[Tensor, " d"]:
    """Return what the encoder subtracts from its input; ConfigError if its pre-activations are not affine in that form."""
    rows = z[:16]
    pre = dictionary.preactivations(rows)
    bias = getattr(dictionary, "encoder_bias", pre.new_zeros(()))
    scale = float(pre.abs().max()) + 1
    own = getattr(dictionary, "decoder_bias", None)
    for centre in ((own.detach(),) if own is not None else ()) + (z.new_zeros(z.shape[1]),):
        if bool(((rows - centre) @ dictionary.encoder.T + bias - pre).abs().max() <= 1e-4 * scale if len(rows) else True):
            return centre
    raise ConfigError(
        f"the pre-activations of a {dictionary.kind} dictionary are no sum over heads, so there is none to share out"
    )
