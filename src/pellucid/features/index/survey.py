"""The pass over the text: the host runs once a batch, every dictionary's codes go to disk, some latents are ablated."""

from __future__ import annotations

import shutil
import time
from collections.abc import Mapping
from pathlib import Path

import torch

from pellucid.core.errors import RunError
from pellucid.core.logging import Ticker, log
from pellucid.data import Batch
from pellucid.dictionaries import Dictionary
from pellucid.features.index.ablation import Ablations, batches_for_ablation
from pellucid.features.index.codes import flat_positions, positive_codes
from pellucid.features.index.config import IndexConfig
from pellucid.features.index.shards import BYTES, Buffer, Shards
from pellucid.features.index.text import IndexedText
from pellucid.hosts import Head, Host, Site
from pellucid.hosts.splice import SharedPass

MOST_ENTRIES = 1 << 22
"""Codes in memory, of all dictionaries together, before they are written to disk."""
SAVE_SECONDS = 60.0
"""Or seconds since they were last written: what a kill can cost."""
ROOM = 1.1
"""Free space wanted on the disk, as a multiple of what is expected."""


class Survey:
    """The pass over the rows of an index; what is on disk of it is not done again."""

    def __init__(
        self,
        host: Host,
        text: IndexedText,
        dictionaries: Mapping[str, tuple[Dictionary, Site]],
        config: IndexConfig,
        folder: Path,
    ) -> None:
        self.host, self.text, self.dictionaries, self.config = host, text, dictionaries, config
        self.shards = Shards(folder)
        self.buffers = {name: Buffer(dictionary.n_latents) for name, (dictionary, _) in dictionaries.items()}
        self.ablations = {name: Ablations(*dictionaries[name], config) for name in dictionaries}
        self.sites = list(dict.fromkeys(site for _, site in dictionaries.values()))
        self.kept = 0
        if self.shards.said:
            self.kept = int(self.shards.said[-1]["kept"])
            for place, ablations in enumerate(self.ablations.values()):
                ablations.restore(self.shards.last_array(f"ablations-{place}"))

    @torch.no_grad()
    def run(self) -> None:
        """Run the host over the rows that are left.

        Raises RunError if the disk has no room for the codes, SiteError or NumericsError as `positive_codes` does.
        """
        size, done = self.config.batch_rows, self.shards.rows
        starts = [start for start, _ in self.text.spans(size)]
        with_ablation = self._ablated(starts)
        head = self._prepared() if with_ablation else None
        if done:
            log.info("going on at row %d of %d", done, self.text.rows)
        saved = time.monotonic()
        with Ticker("indexing", self.text.rows - done, unit="rows") as ticker:
            for start, batch in self.text.batches(size, done):
                batch = batch.to(self.host.device)
                n_rows = self._update(start, batch, head, ablate=start in with_ablation)
                ticker.advance(n_rows)
                if start == done:
                    self._check_disk(n_rows)
                if self._held() >= MOST_ENTRIES or time.monotonic() - saved > SAVE_SECONDS:
                    self._save(start + n_rows)
                    saved = time.monotonic()
        if self.shards.rows < self.text.rows:
            self._save(self.text.rows)

    def _update(self, start: int, batch: Batch, head: Head | None, *, ablate: bool) -> int:
        """Take one batch in; return its rows."""
        if ablate:
            shared = SharedPass(self.host, batch.inputs, batch.keep, splice=self.sites, capture=self.sites, head=head)
        else:
            shared = SharedPass(self.host, batch.inputs, batch.keep, capture=self.sites, features=False)
        n_rows = len(batch.inputs["input_ids"])
        for name, (dictionary, site) in self.dictionaries.items():
            activations = shared.rows(site)
            places = flat_positions(batch, len(activations), site)
            codes = positive_codes(dictionary, activations, site)
            self.buffers[name].add(codes, (places[codes.rows] + start * self.text.context).cpu().numpy())
            if ablate and dictionary.additive:
                self.ablations[name].update(shared, batch, codes, places)
        self.kept += len(places)
        return n_rows

    def _ablated(self, starts: list[int]) -> set[int]:
        """Return the first rows of the batches on which ablations are measured."""
        depths = [_depth(self.host, site) for _, site in self.dictionaries.values()]
        numbers = batches_for_ablation(self.config.effect_share, len(starts), depths, max(depths))
        return {starts[number] for number in numbers}

    def _prepared(self) -> Head | None:
        example = next(batch for _, batch in self.text.batches(1)).to(self.host.device).inputs
        self.host.prepare(example, self.sites)
        return self.host.find_head(example)

    def _held(self) -> int:
        return sum(len(buffer) for buffer in self.buffers.values())

    def _save(self, last: int) -> None:
        arrays = {f"ablations-{place}": ablations.state() for place, ablations in enumerate(self.ablations.values())}
        self.shards.append(self.buffers, last, self.text.context, {"kept": self.kept}, arrays)

    def _check_disk(self, n_rows: int) -> None:
        """Raise RunError if there is no room for as many codes a row as the first rows had."""
        wanted = self._held() / n_rows * (self.text.rows - self.shards.rows) * BYTES
        self.shards.folder.mkdir(parents=True, exist_ok=True)
        free = shutil.disk_usage(self.shards.folder).free
        log.info("codes take about %.0f MB in %s until the index is finished", wanted / 1e6, self.shards.folder)
        if free < ROOM * wanted:
            raise RunError(
                f"{self.shards.folder} would hold about {wanted / 1e6:.0f} MB of codes for a while, but its disk has "
                f"{free / 1e6:.0f} MB free. Index fewer tokens (--tokens), or make room; what is done is kept."
            )


def _depth(host: Host, site: Site) -> float:
    """Return about which share of the host's work comes before a site: blocks up to its own, and the head as one more."""
    block = host.block_of(site)
    return 0.5 if block is None else (block + 1) / (len(host.blocks) + 1)
