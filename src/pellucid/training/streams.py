"""What a fit keeps of each row of data: the rows of a site, a part of a prefix, the head's features."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from pellucid.core.errors import ConfigError
from pellucid.data import Batch
from pellucid.data.store import ActivationStore, Identity, StoreWriter
from pellucid.data.store.encoding import row_bytes
from pellucid.data.store.index import INDEX
from pellucid.hosts import Head, Host, Site
from pellucid.hosts.layout import Layout, find_layout
from pellucid.hosts.splice import SharedPass
from pellucid.hosts.template import PrefixTemplate, find_template

ROWS, FEATURES, PREFIX = "rows", "features", "prefix:"


@dataclass
class Stream:
    """One store of a fit."""

    site: Site
    what: str
    """'rows', 'features' or 'prefix:' and the name of a tensor."""
    folder: Path
    identity: Identity
    layout: Layout | None = None
    """Positions of the value; None until a run of the host or the index of the store has told."""
    width: int = 0
    text_rows: int = 0
    store: ActivationStore | None = None
    writer: StoreWriter | None = field(default=None, repr=False)

    @property
    def known(self) -> int:
        """Places that can be read."""
        return 0 if self.store is None else self.store.known

    def look(self, *, forget_missing: bool = True) -> None:
        """Open the store if it exists, else see what was written since; `forget_missing` as in ActivationStore."""
        if self.store is not None:
            self.store.refresh()
        elif (self.folder / INDEX).exists():
            self.store = ActivationStore(self.folder, self.identity, forget_missing=forget_missing)
            index = self.store.index
            self.layout, self.width = Layout(index.row_dim, index.row_shape), index.width

    def bytes_for(self, places: int) -> int:
        """Return about how many bytes so many places take, excluded positions included."""
        assert self.layout is not None
        positions = int(torch.tensor(self.layout.shape).prod()) if self.layout.shape else 1
        return places * positions * row_bytes(self.width, self.identity.dtype)

    def open_writer(self, shard_bytes: int, expected_places: int, provenance: dict[str, Any]) -> None:
        """Take the store for writing; StoreBusyError if another process has it."""
        assert self.layout is not None
        self.writer = StoreWriter(
            self.folder, self.identity, width=self.width, text_rows=self.text_rows, row_dim=self.layout.dim,
            row_shape=self.layout.shape, shard_bytes=shard_bytes, expected_places=expected_places, provenance=provenance,
        )  # fmt: skip
        self.store = self.writer.store

    def append(self, value: Tensor, keep: Tensor | None, n: int, first: int, new: int) -> None:
        """Keep what is new of a batch of n rows of data with the places from `first` on, `new` of them in this epoch."""
        assert self.writer is not None
        rows, counts = self._by_row(value, keep, n)
        done = self.known - first
        starts = torch.cat([torch.zeros(1, dtype=torch.int64), counts.cumsum(0)])
        if done < new:
            self.writer.append(rows[int(starts[done]) : int(starts[new])], counts[done:new])

    def _by_row(self, value: Tensor, keep: Tensor | None, n: int) -> tuple[Tensor, Tensor]:
        """Return the value's rows, row of data by row of data, and how many each has."""
        assert self.layout is not None
        if self.what.startswith(PREFIX):
            rows = value.movedim(self.layout.dim, 0).reshape(-1, self.width)
            return rows, torch.full((n,), len(rows) // n)
        order = self.layout.order(keep, n)
        if order is not None:
            value = torch.empty_like(value).index_copy_(0, order.to(value.device), value)
        return value, self.layout.counts(keep, n)

    def value(self, kept: Tensor, keep: Tensor | None, n: int, example: Tensor | None = None) -> Tensor:
        """Undo `append`: return the value of a batch from its kept rows; for a part of a prefix in the form of `example`."""
        assert self.layout is not None
        if example is not None:
            shape = example.movedim(self.layout.dim, 0).shape[1:]
            return kept.reshape(n, *shape).movedim(0, self.layout.dim).to(example.dtype)
        order = self.layout.order(keep, n)
        return kept if order is None else kept[order]


def values_of(streams: list[Stream], shared: SharedPass, templates: Mapping[Site, PrefixTemplate]) -> list[Tensor]:
    """Return what each stream keeps of an original run."""
    tensors = {site: template.tensors(shared.prefix(site)) for site, template in templates.items()}
    found = []
    for stream in streams:
        if stream.what.startswith(PREFIX):
            found.append(tensors[stream.site][stream.what.removeprefix(PREFIX)])
        elif stream.what == FEATURES:
            assert shared.features is not None
            found.append(shared.features)
        else:
            found.append(shared.rows(stream.site))
    return found


def find_templates(host: Host, spliced: tuple[Site, ...], one: Batch, two: Batch) -> dict[Site, PrefixTemplate]:
    """Return how to make prefixes from kept tensors, for the sites that can be resumed from."""
    return {site: find_template(host, site, one.inputs, two.inputs) for site in spliced if host.resumable(site)}


def describe(streams: list[Stream], host: Host, one: Batch, two: Batch, head: Head | None, templates: Any) -> None:
    """Fill in each stream's layout and width, by a run of one row of data and one of two."""
    sites = list(dict.fromkeys([*(s.site for s in streams if s.what == ROWS), *([head.site] if head else [])]))
    with torch.no_grad():
        runs = [host.run(batch.inputs, capture=sites) for batch in (one, two)]
    for stream in streams:
        if stream.what.startswith(PREFIX):
            leaf = templates[stream.site].kept[stream.what.removeprefix(PREFIX)]
            _describe_leaf(stream, leaf.layout, leaf.example)
            continue
        if stream.what == FEATURES and head is None:
            first, second = (host.logits(run.output) for run in runs)
        else:
            first, second = (run.values[stream.site] for run in runs)
        layout = find_layout(tuple(first.shape[:-1]), tuple(second.shape[:-1]), f"site '{stream.site}'")
        stream.layout, stream.width = layout, first.shape[-1]


def _describe_leaf(stream: Stream, layout: Layout, example: Tensor) -> None:
    rest = layout.shape
    stream.width = rest[-1] if rest else 1
    stream.layout = Layout(layout.dim, rest[:-1])


def check_same(stream: Stream, value: Tensor, keep: Tensor | None, example: Tensor | None, tolerance: float) -> None:
    """Raise ConfigError if the first place of a store is not what the host gives now (relative RMS difference)."""
    if stream.store is None or stream.known == 0:
        return
    kept = stream.value(stream.store.take(torch.tensor([0])), keep, 1, example).float()
    here = value.float().cpu()
    found = float("inf")
    if kept.shape == here.shape:
        found = float((kept - here).norm() / here.norm().clamp_min(torch.finfo(torch.float32).tiny))
    if not found <= tolerance and bool(torch.isfinite(here).all()):
        raise ConfigError(
            f"the store in {stream.folder} was written by a host with the weights of '{stream.identity.host}', but at site "
            f"'{stream.site}' this host gives other values for the first row of data: relative difference {found:.3g}, wanted "
            f"at most {tolerance}. Its code or its settings differ. Remove the folder or choose another (store.folder)."
        )
