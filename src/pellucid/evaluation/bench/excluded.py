"""Which architectures have no place on which bed, and why."""

from __future__ import annotations

from pellucid.evaluation.bench.beds import HOST

NOWHERE = {
    "skip_transcoder": "its linear path copies the site it reads, so as an autoencoder it needs no latent; it is for two sites",
    "latent_quantization": "each dimension of its code always takes a value and its decoder is a network: there is neither a "
    "sparsity to match nor an atom to compare",
}
"""Architectures that this comparison says nothing of."""

NOT_PLANTED = {"gradient": "it selects by the gradient of the host's loss, and planted vectors have no loss"}
"""Architectures for networks alone."""

NOT_SHORT = {"gradient": "it needs the host's backward pass on every token, more than all else together; --long has it"}
"""Architectures that a host is too slow for unless there is time."""


def excluded(kind: str, bed: str, *, guided: bool) -> str | None:
    """Return why an architecture is not run on a bed, or None where it is; `guided` as the budget says."""
    places = [NOWHERE, NOT_PLANTED if bed != HOST else {} if guided else NOT_SHORT]
    return next((place[kind] for place in places if kind in place), None)
