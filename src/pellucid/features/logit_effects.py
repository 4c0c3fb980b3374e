"""What an atom does to the logits on the direct path: stream, final norm, unembedding."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from pellucid.core.errors import SiteError
from pellucid.data.text import token_text
from pellucid.hosts import Head, Host, Site

CHUNK_NUMBERS = 4 << 20
"""Numbers of the unembedding cast to float32 at once."""
TOLERANCE = 0.05
"""How far, relative to its length, a vector may change on the direct path: room for rounding in bfloat16."""
EXACT = 1e-3
"""The same for a norm in float32 or wider, whose form is known."""
UNKNOWN_NORM = "the final norm is neither an RMSNorm nor a LayerNorm with a gain"


@dataclass(frozen=True)
class LogitEffects:
    """Direct effects of some atoms on the logits, or why there are none."""

    values: Float[Tensor, "m vocabulary"] | None
    """Logit per unit of (activation / norm scale)."""
    reason: str = ""
    """Why `values` is None; else empty."""


@dataclass(frozen=True)
class Readout:
    """How a host reads its stream: with LayerNorm's centring or not, a gain per entry, and the unembedding."""

    place: Site
    """Where the stream ends: the final norm's input, or the head's if there is no norm."""
    gain: Float[Tensor, " d"]
    centred: bool
    unembedding: Float[Tensor, "vocabulary d"]

    def effects(self, atoms: Float[Tensor, "m d"], site: Site) -> Float[Tensor, "m vocabulary"]:
        """Return what `logit_effects` says of atoms at a site; SiteError if they have another width than the stream."""
        d = len(self.gain)
        if atoms.shape[1] != d:
            found = f"site '{site}' has width {d}, but the atoms have {atoms.shape[1]}"
            raise SiteError(f"{found}. Were they trained at another site?")
        atoms = atoms.float()
        if self.centred:
            atoms = atoms - atoms.mean(dim=-1, keepdim=True)
        read = atoms * self.gain
        chunks = self.unembedding.split(max(1, CHUNK_NUMBERS // d))
        return torch.cat([read @ chunk.float().T for chunk in chunks], dim=1)


@torch.no_grad()
def logit_effects(host: Host, site: Site, atoms: Float[Tensor, "m d"], head: Head | None, *, inputs: Any) -> LogitEffects:
    """Return the direct effect of each atom on each logit, logit per unit of (activation / norm scale).

        effect = (gain * (atom - centre)) @ W_U^T,  centre = mean of the atom for LayerNorm, 0 for RMSNorm or no norm

    At a position where the latent has code c and the final norm divides by s (the root mean square of its input, or its
    standard deviation), the atom's own part of the logits is effect * c / s. This is the direct path only: what later
    layers make of the atom, and that adding it changes s, are left out.

    `head` is `host.find_head(inputs)`; the final norm is the site 'norm'. That the site writes into the stream the norm
    reads is not taken from its name but tried on `inputs` (a row is enough): with the outputs of all other attention and
    MLP modules held, a vector added at the site must arrive unchanged. Otherwise `values` is None and `reason` says why.
    Raises SiteError if the atoms have another width than such a site.
    """
    readout = find_readout(host, site, head, inputs=inputs)
    return LogitEffects(None, readout) if isinstance(readout, str) else LogitEffects(readout.effects(atoms, site))


@torch.no_grad()
def find_readout(host: Host, site: Site, head: Head | None, *, inputs: Any) -> Readout | str:
    """Return how the host reads what is added at a site, or why it has no direct path; see `logit_effects`."""
    readout = _readout(host, head, inputs)
    if isinstance(readout, str):
        return readout
    return _direct_path(host, site, readout.place, inputs) or readout


def top_tokens(effects: Float[Tensor, " vocabulary"], tokenizer: Any, n: int = 8) -> tuple[list[list[Any]], list[list[Any]]]:
    """Return the n tokens whose logits one atom raises most and the n it lowers most, as lists of [text, effect].

    The strongest come first, of equal effects the lower token id; a token that is not moved in that direction is left out.
    """
    raises, lowers = (
        [[token_text(tokenizer, int(i)), float(effects[i])] for i in order[:n] if sign * effects[i] > 0]
        for sign, order in ((sign, (sign * effects).sort(descending=True, stable=True).indices) for sign in (1, -1))
    )
    return raises, lowers


def _readout(host: Host, head: Head | None, inputs: Any) -> Readout | str:
    """Find how the logits are read; a sentence if that is not a norm and one matrix."""
    if head is None:
        return f"no module of {host.name} alone turns features into logits"
    weight = getattr(head.module, "weight", None)
    if not isinstance(weight, Tensor) or weight.ndim != 2 or not weight.is_floating_point():
        return f"the head '{head.site.path}' of {host.name} has no unembedding matrix"
    if "norm" not in host.site_names():
        ones = torch.ones(weight.shape[1], device=weight.device)
        return Readout(head.site, ones, False, weight)
    norm = host.site("norm")
    seen = host.run(inputs, capture=[norm, head.site], stop=True).values
    if not torch.equal(seen[norm], seen[head.site]):
        return f"the head of {host.name} does not read the final norm '{norm.path}' directly"
    found = _gain(host.module.get_submodule(norm.path), weight.shape[1])
    return found if isinstance(found, str) else Readout(Site(norm.path, "input"), *found, weight)


def _gain(norm: torch.nn.Module, d: int) -> tuple[Float[Tensor, " d"], bool] | str:
    """Return gain and centring of a norm by trying it on a vector: some store the gain, some the gain less 1."""
    weight = getattr(norm, "weight", None)
    if not isinstance(weight, Tensor) or weight.shape != (d,):
        return UNKNOWN_NORM
    # A large vector makes epsilon nothing, its offset tells centring; half the difference of both signs drops a bias.
    x = 100 * (1 + torch.randn(d, generator=torch.Generator().manual_seed(0))).to(weight)
    odd = ((norm(x[None, None]) - norm(-x[None, None])) / 2)[0, 0].float()
    errors: list[tuple[float, Tensor, bool]] = []
    for gain in (weight.float(), weight.float() + 1):
        for centred in (False, True):
            z = x.float() - x.float().mean() if centred else x.float()
            expected = gain * z / z.square().mean().sqrt()
            errors.append((float((odd - expected).norm() / odd.norm()), gain, centred))
    error, gain, centred = min(errors, key=lambda found: found[0])
    return (gain, centred) if error <= (TOLERANCE if weight.dtype.itemsize < 4 else EXACT) else UNKNOWN_NORM


def _direct_path(host: Host, site: Site, place: Site, inputs: Any) -> str:
    """Add a vector at the site with every other branch held; return why it did not arrive, or an empty string."""
    wanted = {f"layers.{i}.{kind}" for i in range(len(host.blocks)) for kind in ("attn", "mlp")}
    branches = [host.site(name) for name in host.site_names() if name in wanted]
    branches = [branch for branch in branches if branch != site]
    refusal = f"what is added at site '{site}' does not reach the logits' stream unchanged on the direct path"
    try:
        before = host.run(inputs, capture=[*branches, site, place]).values
        stream, width = before[place], before[site].shape[-1]
        if width != stream.shape[-1]:
            return f"site '{site}' has width {width}, but the stream the logits are read from has width {stream.shape[-1]}"
        vector = torch.randn(stream.shape[-1], generator=torch.Generator().manual_seed(1)).to(stream)
        vector *= stream.float().square().mean().sqrt().to(stream)
        held = {branch: (lambda value, kept=before[branch]: kept) for branch in branches}
        after = host.run(inputs, capture=[place], edit={**held, site: lambda value: value + vector}).values[place]
    except SiteError as error:
        return f"{refusal}: {error}"
    change = (after - stream).float()
    far = float((change - vector.float()).norm()) > TOLERANCE * float(vector.float().expand_as(change).norm())
    return refusal if far else ""
