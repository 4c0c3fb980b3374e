"""Where the learners' activations come from: the host, or a store that the host fills once."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from torch import Tensor

from pellucid.data import Batch, DataSource
from pellucid.hosts import Head, Host, Site
from pellucid.hosts.splice import SharedPass
from pellucid.training.config import FitConfig
from pellucid.training.guidance import kept_labels
from pellucid.training.places import Place
from pellucid.training.timing import Timing

Take = Callable[[int, int], Batch]
"""Returns, of a step's batch of so many rows, those that this process trains on."""


@dataclass(frozen=True)
class Wanted:
    """What the dictionaries of a fit want of a pass."""

    own: tuple[Site, ...]
    """Sites of dictionaries."""
    local: tuple[Site, ...]
    """Sites whose rows are read only, those of later blocks among them."""
    spliced: tuple[Site, ...]
    """Sites that runs are started from."""
    labels: bool = False
    """Whether a loss against the labels is taken."""


def wanted_sites(config: FitConfig, host: Host, places: Mapping[str, Place]) -> Wanted:
    """Return what the config's dictionaries, at these places, want."""
    objectives = {name: config.dictionaries[name].objective for name in places}
    starts = [place.target for name, place in places.items() if config.dictionaries[name].starts_runs]
    later = [site for name, place in places.items() for site in objectives[name].downstream(host, place.target)]
    local = [site for name, place in places.items() for site in place.sites if not objectives[name].splices]
    local += [place.source for name, place in places.items() if objectives[name].splices and place.apart]
    every = [site for place in places.values() for site in place.sites]
    own, read, spliced = (tuple(dict.fromkeys(sites)) for sites in (every, [*local, *later], starts))
    return Wanted(own, read, spliced, any(config.dictionaries[name].guided for name in places))


@runtime_checkable
class Passes(Protocol):
    """Gives each step its pass."""

    head: Head | None
    """What turns features into logits; None where no objective splices or the host has none."""

    def samples(self, sites: list[Site]) -> dict[Site, Tensor]:
        """Return activations [n, d] of the first rows at each site, for the starting biases."""

    def at(self, step: int) -> SharedPass:
        """Return the pass of a step."""

    def close(self, *, finished: bool) -> None:
        """Let go of what is held; `finished` if training came to its end."""


class HostPasses:
    """Runs the host at every step."""

    def __init__(
        self, config: FitConfig, host: Host, data: DataSource, wanted: Wanted, timing: Timing, take: Take | None = None
    ) -> None:
        self.config, self.host, self.data, self.wanted, self.timing = config, host, data, wanted, timing
        self.take = take or data.train_batch
        example = data.train_batch(0, 1).to(host.device)
        host.prepare(example.inputs, wanted.own)
        self.head: Head | None = host.find_head(example.inputs) if wanted.spliced else None

    def samples(self, sites: list[Site]) -> dict[Site, Tensor]:
        """Return activations [n, d] of the first rows at each site."""
        return host_samples(self.config, self.host, self.data, sites)

    def at(self, step: int) -> SharedPass:
        """Run the host on the batch of a step, as far as needed."""
        batch = self.take(step, self.config.batch_rows).to(self.host.device)
        with self.timing.during("host"):
            return run_host(self.host, batch, self.wanted, self.head)

    def close(self, *, finished: bool) -> None:
        """Nothing is held."""


def run_host(host: Host, batch: Batch, wanted: Wanted, head: Head | None) -> SharedPass:
    """Run the host on a batch, as far as needed."""
    shared = SharedPass(
        host,
        batch.inputs,
        batch.keep,
        splice=wanted.spliced,
        capture=wanted.local,
        head=head,
        features=bool(wanted.spliced),
    )
    shared.labels = kept_labels(batch) if wanted.labels else None
    return shared


def host_samples(config: FitConfig, host: Host, data: DataSource, sites: list[Site]) -> dict[Site, Tensor]:
    """Run the host on the first rows; return activations [n, d] at each site, float32."""
    batch = data.train_batch(0, sample_size(config, data)).to(host.device)
    shared = SharedPass(host, batch.inputs, batch.keep, capture=sites, features=False)
    return {site: shared.rows(site).float().cpu() for site in sites}


def sample_size(config: FitConfig, data: DataSource) -> int:
    """Return how many rows set the starting biases."""
    return min(config.sample_rows, data.n_train)
