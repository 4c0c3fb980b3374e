"""The gradient of the host's own loss at a site, for dictionaries that select by it."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn.functional import cross_entropy

from pellucid.core.errors import ConfigError
from pellucid.data import Batch
from pellucid.hosts import Host, Site
from pellucid.hosts.splice import SharedPass, rows_of
from pellucid.kernels.divergence import CHUNK_NUMBERS


def kept_labels(batch: Batch) -> Int[Tensor, " n"] | None:
    """Return the labels of a batch's kept positions, -100 where there is none; None if the data has no labels."""
    return None if batch.labels is None else rows_of(batch.labels.unsqueeze(-1), batch.keep).squeeze(-1)


def check_labels(names: Iterable[str], batch: Batch, host: Host) -> None:
    """Raise ConfigError if dictionaries want the loss's gradient and the data has no labels to take a loss of."""
    if (names := sorted(names)) and batch.labels is None:
        raise ConfigError(
            f"dictionaries {names} select by the gradient of {host.name}'s loss, but this data has no labels. "
            f"Use text or labelled data, or another architecture (topk is the same without the gradient)."
        )


def loss_gradient(shared: SharedPass, site: Site) -> Float[Tensor, "n d"]:
    """Return the gradient of the summed cross-entropy of a batch with respect to a site's kept rows, in nats per unit.

    One run of the host from the site on and one backward pass; logits are made in chunks. Raises ConfigError if labels and
    outputs are not of the same positions.
    """
    leaves: list[Tensor] = []

    def replace(rows: Tensor) -> Tensor:
        leaves.append(rows.detach().clone().requires_grad_())
        return leaves[-1]

    with torch.enable_grad():
        features = shared.splice(site, replace).features
        slope = _slope(shared, features.detach())
        return torch.cat(torch.autograd.grad(features, leaves, slope)).detach()


def _slope(shared: SharedPass, features: Float[Tensor, "n w"]) -> Float[Tensor, "n w"]:
    """Return the gradient of the summed cross-entropy with respect to what the readout reads."""
    labels, readout = shared.labels, shared.readout
    if labels is None or len(labels) != len(features):
        found = "no labels" if labels is None else f"{len(labels)} labels"
        raise ConfigError(f"the batch has {found} for {len(features)} outputs; the loss needs one label for each")
    slope = torch.empty_like(features)
    classes = readout(features[:1]).shape[-1]
    chunk = max(1, CHUNK_NUMBERS // classes)
    for start in range(0, len(features), chunk):
        part = features[start : start + chunk].clone().requires_grad_()
        logits = readout(part)
        loss = cross_entropy(logits.float(), labels[start : start + chunk], ignore_index=-100, reduction="sum")
        (slope[start : start + chunk],) = torch.autograd.grad(loss, part)
    return slope
