"""All scores of some dictionaries on held-out data, from one original run a batch."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from pellucid.core.allocator import keep_freed_memory
from pellucid.core.errors import HostMismatchWarning
from pellucid.core.logging import Ticker
from pellucid.data import Batch, DataSource
from pellucid.dictionaries import Dictionary, FiringCounter, inference
from pellucid.evaluation.fidelity import Fidelity, recovered
from pellucid.evaluation.reconstruction import Reconstruction
from pellucid.hosts import Head, Host, Site
from pellucid.hosts.splice import SharedPass, rows_of
from pellucid.kernels.divergence import Teacher
from pellucid.training.places import Place, same_positions

EDGES = [-6.0 + 0.25 * i for i in range(25)]
"""Edges of the density histogram, log10 of the share of tokens a latent fires on."""


MEAN_ROWS = 16
"""Training rows over which the mean activation of a mean ablation is taken."""


def evaluate(
    host: Host,
    dictionaries: Mapping[str, tuple[Dictionary, Site]],
    data: DataSource,
    *,
    targets: Mapping[str, Site] | None = None,
    means: Mapping[Site, Tensor] | None = None,
    rows: int | None = None,
    batch_rows: int = 8,
) -> dict[str, dict[str, Any]]:
    """Return the scores of each dictionary by name, on the first `rows` held-out rows (all if None).

    `targets` names the site a dictionary writes where that is not the one it reads (a transcoder): what is reconstructed,
    replaced and ablated is then the target. `means` are the `mean_activations` of those sites, taken if not given.
    Every metric is a mean over all kept positions, whatever the size of a batch. Definitions: `Fidelity`, `Reconstruction`
    and `FiringCounter`; `ce_recovered_vs_zero` and `ce_recovered_vs_mean` are 1 - ce_increase / ce_increase of putting
    zeros, or the means, at the kept positions; `downstream_mse` is the mean squared difference of spliced and original
    values at the output of every later block.
    """
    keep_freed_memory()
    places = {name: Place(site, (targets or {}).get(name, site)) for name, (_, site) in dictionaries.items()}
    sites = list(dict.fromkeys(place.target for place in places.values()))
    total = min(rows or data.n_held_out, data.n_held_out)
    with host.held(), torch.no_grad(), inference([dictionary for dictionary, _ in dictionaries.values()]):
        example = data.train_batch(0, 1).to(host.device).inputs
        host.prepare(example, sites)
        means = means or mean_activations(host, data, sites)
        scoring = _Scoring(host, dictionaries, places, means, host.find_head(example))
        with Ticker("evaluating", total, unit="rows") as ticker:
            for batch in data.held_out_batches(batch_rows, total):
                scoring.update(batch.to(host.device))
                ticker.advance(min(batch_rows, total))
    return {name: scoring.scores(name) for name in dictionaries}


def mean_activations(host: Host, data: DataSource, sites: Sequence[Site]) -> dict[Site, Float[Tensor, " d"]]:
    """Return each site's mean activation over the kept positions of the first training rows: what mean ablation puts."""
    batch = data.train_batch(0, min(MEAN_ROWS, data.n_train)).to(host.device)
    with host.held():
        shared = SharedPass(host, batch.inputs, batch.keep, capture=sites, features=False)
    return {site: shared.rows(site).double().mean(dim=0).float() for site in sites}


def check_host(host: Host, header: Mapping[str, Any], site: Site) -> None:
    """Warn by name if a dictionary was trained on a host with other weights at its site."""
    digests = {"weights_sha256": site}
    if header.get("target") is not None:
        digests["target_weights_sha256"] = host.site(header["target"])
    if any(header["host"].get(key) != host.weights_digest(place) for key, place in digests.items()):
        warnings.warn(
            f"dictionary '{header['name']}' was trained on host '{header['host']['name']}', whose weights at site '{site}' "
            f"differ from those of '{host.name}'; its numbers here say little",
            HostMismatchWarning,
            stacklevel=2,
        )


class _Scoring:
    def __init__(
        self,
        host: Host,
        dictionaries: Mapping[str, tuple[Dictionary, Site]],
        places: Mapping[str, Place],
        means: Mapping[Site, Tensor],
        head: Head | None,
    ) -> None:
        self.host, self.dictionaries, self.means, self.head = host, dictionaries, means, head
        self.places = places
        self.sites = sites = list(means)
        self.later = {site: host.downstream(site, last=True) for site in sites}
        self.fidelity = {name: Fidelity() for name in dictionaries}
        self.counters = {name: FiringCounter(d.n_latents, host.device) for name, (d, _) in dictionaries.items()}
        self.local: dict[str, Reconstruction] = {}
        self.downstream: dict[str, dict[Site, Reconstruction]] = {name: {} for name in dictionaries}
        self.ablations = {(site, kind): Fidelity() for site in sites for kind in ("zero", "mean")}

    def update(self, batch: Batch) -> None:
        """Count one batch."""
        capture = [later for site in self.sites for later in self.later[site]]
        capture += [place.source for place in self.places.values() if place.apart]
        shared = SharedPass(self.host, batch.inputs, batch.keep, splice=self.sites, capture=capture, head=self.head)
        assert shared.features is not None
        teacher = Teacher(shared.readout, shared.features, shared=True)
        labels = _labels(batch, len(shared.features))
        for site in self.sites:
            mean = self.means[site]
            for kind, value in (("zero", torch.zeros_like(mean)), ("mean", mean)):
                spliced = shared.splice(site, value.expand_as)
                self.ablations[site, kind].update(teacher, spliced.features, labels)
        for name in self.dictionaries:
            self._score(name, shared, teacher, labels)

    def _score(self, name: str, shared: SharedPass, teacher: Teacher, labels: Tensor | None) -> None:
        dictionary, place = self.dictionaries[name][0], self.places[name]

        def replace(rows: Tensor) -> Tensor:
            read = shared.rows(place.source) if place.apart else rows
            same_positions(read, rows, place)
            forward = dictionary(read.float())
            self.counters[name].update(forward.codes)
            self.local.setdefault(name, Reconstruction(rows.shape[-1], rows.device)).update(rows, forward.reconstruction)
            return forward.reconstruction

        spliced = shared.splice(place.target, replace, self.later[place.target])
        self.fidelity[name].update(teacher, spliced.features, labels)
        for later, value in spliced.values.items():
            sums = self.downstream[name].setdefault(later, Reconstruction(value.shape[-1], value.device))
            sums.update(shared.rows(later), value)

    def scores(self, name: str) -> dict[str, Any]:
        """Return one dictionary's scores."""
        site = self.places[name].target
        found = self.fidelity[name].scores()
        counter, local = self.counters[name], self.local[name]
        zero, mean = (self.ablations[site, kind].scores() for kind in ("zero", "mean"))
        return {
            **found,
            "ce_zero_ablation": zero["ce_spliced"],
            "ce_mean_ablation": mean["ce_spliced"],
            "ce_recovered_vs_zero": recovered(found["ce_increase"], zero["ce_increase"]),
            "ce_recovered_vs_mean": recovered(found["ce_increase"], mean["ce_increase"]),
            "l0": counter.l0(),
            "alive": counter.alive(),
            "alive_tokens": counter.tokens,
            "alive_definition": f"latents that fired at least once on {counter.tokens} held-out tokens",
            "fvu": local.fvu,
            "explained_variance": local.explained_variance,
            "mse": local.mse,
            "norm_ratio": local.norm_ratio,
            "downstream_mse": {str(later): sums.mse for later, sums in self.downstream[name].items()},
            "density": histogram(counter),
            "tokens": self.fidelity[name].n,
        }


def histogram(counter: FiringCounter) -> dict[str, Any]:
    """Return how many latents fire on which share of tokens, in bins of log10; `never` are those that did not."""
    density = counter.density()
    fired = density[density > 0].log10().clamp(EDGES[0], EDGES[-1]).cpu()
    counts = torch.histogram(fired, torch.tensor(EDGES, dtype=fired.dtype)).hist.int().tolist()
    return {"log10_edges": EDGES, "counts": counts, "never": int((density == 0).sum())}


def _labels(batch: Batch, n: int) -> Tensor | None:
    """Return a label for each row of features; None if the batch has none that fit."""
    if batch.labels is None:
        return None
    labels = rows_of(batch.labels.unsqueeze(-1), batch.keep).squeeze(-1)
    return labels if len(labels) == n else None
