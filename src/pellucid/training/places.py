"""Where the dictionaries of a fit read and write."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from pellucid.core.errors import ConfigError, SiteError, raise_all
from pellucid.hosts import Host, Site
from pellucid.training.config import DictionaryConfig


@dataclass(frozen=True)
class Place:
    """The site a dictionary reads and the one it writes; equal but for a transcoder."""

    source: Site
    target: Site

    @property
    def sites(self) -> tuple[Site, ...]:
        """Both sites, or the one."""
        return tuple(dict.fromkeys((self.source, self.target)))

    @property
    def apart(self) -> bool:
        """True if it writes another site than it reads."""
        return self.source != self.target

    def __str__(self) -> str:
        return f"{self.source} -> {self.target}" if self.apart else str(self.source)


def find_place(host: Host, config: DictionaryConfig) -> Place:
    """Return a dictionary's sites; SiteError if the host does not have one of them."""
    source = host.site(config.site)
    return Place(source, source if config.target is None else host.site(config.target))


def find_places(host: Host, configs: Mapping[str, DictionaryConfig]) -> dict[str, Place]:
    """Return each dictionary's sites; ConfigError says all that is wrong with the dictionaries' configs at once."""
    problems: list[str] = []
    places: dict[str, Place] = {}
    for name, config in configs.items():
        try:
            places[name] = find_place(host, config)
            config.objective.downstream(host, places[name].target)
        except ValueError as error:
            problems.append(f"dictionary '{name}': {error}")
    raise_all(problems, ConfigError, title="these dictionaries cannot be trained" if len(problems) > 1 else "")
    return places


def check_places(host: Host, places: Mapping[str, Place], inputs: Any) -> None:
    """Raise ConfigError if a transcoder's target cannot be made from its source, by one dry run of small `inputs`.

    The source must be reached before the target, and both once a run with the same positions.
    """
    apart = {name: place for name, place in places.items() if place.apart}
    if not apart:
        return
    sites = list(dict.fromkeys(site for place in apart.values() for site in place.sites))
    with torch.no_grad():
        values = host.run(inputs, capture=sites, stop=True).values
    order = list(values)  # in which the run came by them
    problems = []
    for name, place in apart.items():
        shapes = [tuple(values[site].shape[:-1]) for site in place.sites]
        if order.index(place.source) > order.index(place.target):
            problems.append(f"dictionary '{name}': {host.name} comes by its site '{place.source}' after its target")
        elif shapes[0] != shapes[1]:
            problems.append(f"dictionary '{name}': '{place.source}' has positions {shapes[0]}, its target {shapes[1]}")
    raise_all(problems, ConfigError, title="a transcoder's target must follow from its site")


def written_at(host: Host, place: Place) -> dict[str, Any]:
    """Return what a dictionary's file says of its sites and their host."""
    record = {"name": host.name, "weights_sha256": host.weights_digest(place.source)}
    if not place.apart:
        return {"site": str(place.source), "host": record}
    record["target_weights_sha256"] = host.weights_digest(place.target)
    return {"site": str(place.source), "target": str(place.target), "host": record}


def same_positions(rows: Tensor, replaced: Tensor, place: Place) -> None:
    """Raise SiteError if a splice asks for other rows than were read: the target is called several times a run."""
    if len(rows) != len(replaced):
        raise SiteError(
            f"target '{place.target}' is replaced {len(replaced)} rows at a time, but site '{place.source}' gave {len(rows)} "
            f"in the run. Train with objective 'local', or choose a target that is called once a run."
        )
