"""Which stores a fit needs, and whether those on disk are the ones."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from pellucid.core.errors import ConfigError, FileFormatError, RunError, raise_all
from pellucid.core.provenance import versions
from pellucid.data import DataSource
from pellucid.data.store import Identity, host_digest, read_index
from pellucid.data.store.index import INDEX
from pellucid.hosts import Head, Host, Site
from pellucid.hosts.splice import rows_of
from pellucid.hosts.template import VALUE, PrefixTemplate
from pellucid.training.config import FitConfig
from pellucid.training.passes import Wanted
from pellucid.training.streams import FEATURES, PREFIX, ROWS, Stream, check_same, describe, find_templates

EXACT, ROUNDED = 1e-3, 0.05
"""Largest relative difference between a stored row and one run now, in float32 and in types that round."""


class Stores:
    """The streams of a fit, opened where they exist."""

    def __init__(self, config: FitConfig, host: Host, data: DataSource, wanted: Wanted, needed: int) -> None:
        """Find the stores of these sites; ConfigError if one was written by another host or if a read-only one is lacking."""
        self.config, self.host, self.data, self.needed = config, host, data, needed
        self._one, self._two = (data.train_batch(0, n).to(host.device) for n in (1, 2))
        self._digest = host_digest(host)
        self.head: Head | None = None
        self.templates: dict[Site, PrefixTemplate] = {}
        if wanted.spliced:
            host.prepare(self._one.inputs, wanted.own)
            self.head = host.find_head(self._one.inputs)
            self.templates = find_templates(host, wanted.spliced, self._one, self._two)
        self.streams = self._streams(wanted)
        for stream in self.streams:
            stream.look(forget_missing=not config.store.read_only)
        if config.store.read_only:
            self._refuse()
        self._probe()
        unknown = [stream for stream in self.streams if stream.layout is None]
        if unknown:
            host.prepare(self._one.inputs, wanted.own)
            describe(unknown, host, self._one, self._two, self.head, self.templates)

    def provenance(self, stream: Stream) -> dict[str, Any]:
        """Return where a stream's numbers come from; the same for a fit that was killed and one that was not."""
        block = self.host.block_of(stream.site) if stream.what != FEATURES else None
        weights = self._digest if block is None else self.host.weights_digest(stream.site)
        return {
            "host": self.host.name,
            "site": str(stream.site),
            "site_weights_sha256": weights,
            "data": self.data.describe(),
            "batch_rows": self.config.batch_rows,
            "threads": torch.get_num_threads(),
            "versions": versions(),
        }

    def _streams(self, wanted: Wanted) -> list[Stream]:
        parts = [(site, PREFIX + name) for site, template in self.templates.items() for name in template.kept]
        rows = [site for site in (*wanted.local, *wanted.spliced) if site not in self.templates]
        parts += [(site, ROWS) for site in dict.fromkeys(rows)]
        if wanted.spliced:
            parts.append((self.head.site if self.head else Site("", name="logits"), FEATURES))
        return [self._stream(site, what) for site, what in parts]

    def _stream(self, site: Site, what: str) -> Stream:
        identity = Identity(
            host=self.host.name, host_sha256=self._digest, site=site.canonical, what=what, data_sha256=self.data.digest(),
            dtype=self.config.store.dtype,
        )  # fmt: skip
        folder = Path(str(self.config.store.folder)).expanduser() / identity.key[:32]
        return Stream(site, what, folder, identity, text_rows=self.data.n_train)

    def _probe(self) -> None:
        """Check stored rows of the first place against one dry run."""
        kept = [stream for stream in self.streams if stream.what == ROWS and stream.known]
        plain = self.config.dtype == self.config.store.dtype == "float32"
        tolerance = EXACT if plain else ROUNDED
        if kept:
            with torch.no_grad():
                values = self.host.run(self._one.inputs, capture=[stream.site for stream in kept]).values
            for stream in kept:
                check_same(stream, rows_of(values[stream.site], self._one.keep), self._one.keep, None, tolerance)
        for stream in self.streams:
            if stream.what == PREFIX + VALUE:
                value = self.templates[stream.site].kept[VALUE].example
                check_same(stream, value, None, value, tolerance)

    def _refuse(self) -> None:
        """Raise ConfigError if a store is missing, naming those that are there; RunError if one is too short."""
        missing = [stream for stream in self.streams if stream.store is None]
        if missing:
            root = missing[0].folder.parent
            near = [line for path in sorted(root.glob(f"*/{INDEX}")) for line in _differences(path.parent, missing[0])]
            there = "\n".join(f"  - {line}" for line in near[:8]) or "  - no store at all"
            raise ConfigError(
                f"{root} does not hold the activations of '{self.host.name}' at site '{missing[0].site}' "
                f"({missing[0].what}). It holds:\n{there}\nSet store.read_only to false to write them."
            )
        problems = [
            f"{stream.folder} holds {stream.known} rows of data, wanted {self.needed}"
            for stream in self.streams
            if stream.known < self.needed
        ]
        raise_all(problems, RunError, title="the store is too short. Train on fewer tokens or set store.read_only to false")


def _differences(folder: Path, wanted: Stream) -> list[str]:
    try:
        found = read_index(folder).identity
    except FileFormatError as error:
        return [str(error).splitlines()[0]]
    return [f"{folder.name}: " + "; ".join(found.differences(wanted.identity))]
