"""The features of one dictionary, as the pages ask for them."""

from __future__ import annotations

import contextlib
import threading
from collections import OrderedDict
from concurrent.futures import Executor, Future, TimeoutError
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Int32

from pellucid.core.errors import ConfigError, PellucidError, did_you_mean
from pellucid.features.index import Index, IndexedExample
from pellucid.features.index.schema import EXAMPLES, EXAMPLES_FILE, LATENTS
from pellucid.web.explorer.database import Database
from pellucid.web.explorer.example_texts import ExampleTexts, Snippet
from pellucid.web.explorer.explanations import FOLDER, Explanations
from pellucid.web.explorer.listing import Listing
from pellucid.web.explorer.statistics import Statistics

KEPT_LISTS = 16
"""Lists kept in order, so that the next page needs no search."""


class Features:
    """Statistics, examples and explanations of a dictionary's latents; every file is read when first needed."""

    def __init__(self, run: Path, name: str, index: Index, database: Database, pool: Executor) -> None:
        self.run, self.name = run, name
        self.n_latents = index.n_latents(name)
        self.about: dict[str, Any] = index.manifest["dictionaries"][name]
        self._database, self._pool = database, pool
        self._latents = str(index.path(name))
        self._examples = index.path(name, EXAMPLES_FILE)
        self._lock = threading.RLock()
        self._texts: Future[ExampleTexts] | None = None
        self._explained: dict[str, tuple[int, Explanations]] = {}
        self._merged: dict[tuple[str, int], Statistics] = {}
        self._lists: OrderedDict[Any, np.ndarray] = OrderedDict()

    @cached_property
    def _statistics(self) -> Statistics:
        return Statistics.read(self._database, self._latents, self.n_latents)

    def explainers(self) -> list[str]:
        """Names of the explainers that explained this dictionary, the one with the best detection score first."""
        names = sorted(path.stem for path in (self.run / FOLDER / self.name).glob("*.parquet"))
        return sorted(names, key=lambda name: -self._explanations(name).mean("detection")) if len(names) > 1 else names

    def explanations(self, explainer: str = "") -> Explanations | None:
        """Return an explainer's explanations (the best one's if none is named); None if there are none."""
        names = self.explainers()
        if explainer and explainer not in names:
            raise ConfigError(f"no explainer '{explainer[:80]}' explained '{self.name}'.{did_you_mean(explainer[:80], names)}")
        return self._explanations(explainer or names[0]) if names else None

    def statistics(self, explainer: str = "") -> Statistics:
        """Return the statistics, with the scores of an explainer as columns."""
        explanations = self.explanations(explainer)
        with self._lock:
            if explanations is None:
                return self._statistics
            key = (explainer, id(explanations))
            if key not in self._merged:
                merged = Statistics({**self._statistics.columns, **explanations.columns()}, base=self._statistics)
                self._merged = {other: kept for other, kept in self._merged.items() if other[0] != explainer} | {key: merged}
            return self._merged[key]

    def ready(self) -> None:
        """Read what the first page needs; errors wait for a page to meet them."""
        with contextlib.suppress(PellucidError):
            self.find(Listing())

    def prepare(self) -> None:
        """Order every column, so that no page waits for that, then have the texts read; errors wait for a page to meet them."""
        with contextlib.suppress(PellucidError):
            statistics = self.statistics()
            for key in statistics.columns:
                statistics.order(key, False)
        self._reading()

    def default_order(self, statistics: Statistics) -> Listing:
        """Return the order of a list that asks for none: by causal effect where that was measured, else by firing rate."""
        return Listing(sort="effect_kl" if statistics.known("effect_kl") else "firing_rate", descending=True)

    def find(self, listing: Listing) -> Int32[np.ndarray, " n"]:
        """Return the latents of a list, in its order, whatever its page."""
        explanations, statistics = self.explanations(listing.explainer), self.statistics(listing.explainer)
        key = (replace(listing, page=1), id(statistics))
        with self._lock:
            if key in self._lists:
                self._lists.move_to_end(key)
                return self._lists[key]
        order = listing if listing.sort else self.default_order(statistics)
        found = statistics.order(order.sort, order.descending)
        mask = statistics.mask(listing.filters)
        if listing.search:
            searched = self._search(listing, explanations)
            mask = searched if mask is None else mask & searched
        found = found if mask is None else found[mask[found]]
        with self._lock:
            self._lists[key] = found
            while len(self._lists) > KEPT_LISTS:
                self._lists.popitem(last=False)
        return found

    def _search(self, listing: Listing, explanations: Explanations | None) -> np.ndarray:
        mask = np.zeros(self.n_latents, dtype=bool)
        if explanations is not None and listing.scope in ("all", "explanations"):
            explanations.postings.search(listing.search, mask)
        if listing.scope in ("all", "examples"):
            self.texts().windows.search(listing.search, mask)
        if listing.scope == "peaks":
            self.texts().peaks.search(listing.search, mask)
        if listing.scope == "all" and listing.search.isdecimal() and int(listing.search) < self.n_latents:
            mask[int(listing.search)] = True
        return mask

    def texts(self) -> ExampleTexts:
        """Return the texts of all examples; waits until they have been read."""
        return self._reading().result()

    def best(self, latent: int, wait: float | None = 0.1) -> Snippet | None:
        """Return a latent's best example; None if it has none, or the texts are still being read after `wait` seconds."""
        try:
            return self._reading().result(wait).best(latent)
        except TimeoutError:
            return None

    @property
    def reading(self) -> bool:
        """True while the texts of the examples are being read."""
        return not self._reading().done()

    def _reading(self) -> Future[ExampleTexts]:
        with self._lock:
            if self._texts is None or (self._texts.done() and self._texts.exception() is not None):
                self._texts = self._pool.submit(ExampleTexts, self._examples, self.n_latents)
            return self._texts

    def latent(self, latent: int) -> dict[str, Any]:
        """Return a latent's row of the index; ConfigError if there is no such latent."""
        if not 0 <= latent < self.n_latents:
            raise ConfigError(f"dictionary '{self.name}' has latents 0 to {self.n_latents - 1}, asked for {latent}")
        columns = ", ".join(f'"{name}"' for name in LATENTS.names)
        rows = self._database.rows(f"SELECT {columns} FROM read_parquet(?) WHERE latent = ?", [self._latents, latent])
        if not rows:
            raise ConfigError(f"the index of '{self.name}' has no row for latent {latent}. Make it again: pellucid index RUN")
        return dict(zip(LATENTS.names, rows[0], strict=True))

    def examples(self, latent: int) -> list[IndexedExample]:
        """Return a latent's examples, the very top first, then from the strongest decile down."""
        columns = ", ".join(f'"{name}"' for name in EXAMPLES.names)
        statement = f"SELECT {columns} FROM read_parquet(?) WHERE latent = ?"
        rows = self._database.rows(statement, [str(self._examples), latent])
        found = [IndexedExample(**dict(zip(EXAMPLES.names, row, strict=True))) for row in rows]
        return sorted(found, key=lambda one: (one.quantile != 0, -one.quantile, one.rank))

    def _explanations(self, name: str) -> Explanations:
        path = self.run / FOLDER / self.name / f"{name}.parquet"
        stamp = path.stat().st_mtime_ns
        with self._lock:
            if self._explained.get(name, (0, None))[0] != stamp:  # 'pellucid explain' may run beside the explorer
                self._explained[name] = (stamp, Explanations(path, self.n_latents))
            return self._explained[name][1]
