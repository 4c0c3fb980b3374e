"""Passes from a store: what is missing is run once and kept, everything is read from it."""

from __future__ import annotations

import math
import shutil
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import torch
from jaxtyping import Int
from torch import Tensor

from pellucid.core import files
from pellucid.core.errors import ConfigError, FileFormatError, RunError
from pellucid.core.logging import log
from pellucid.data import DataSource
from pellucid.data.store import shuffled_rows
from pellucid.data.store.writer import StoreBusyError
from pellucid.hosts import Head, Host, Site
from pellucid.hosts.splice import SharedPass, rows_of
from pellucid.hosts.template import VALUE
from pellucid.training.config import FitConfig
from pellucid.training.guidance import kept_labels
from pellucid.training.passes import HostPasses, Passes, Take, Wanted, host_samples, run_host, sample_size, wanted_sites
from pellucid.training.places import Place
from pellucid.training.stored_pass import StoredPass
from pellucid.training.stores import Stores
from pellucid.training.streams import FEATURES, PREFIX, ROWS, Stream, values_of
from pellucid.training.timing import Timing

POLL = 0.2
"""Seconds between looks at a store that another process is writing."""


def open_passes(
    config: FitConfig,
    host: Host,
    data: DataSource,
    places: Mapping[str, Place],
    timing: Timing,
    take: Take | None = None,
    ranks: int = 1,
) -> Passes:
    """Return the passes a config asks for; raises ConfigError, FileFormatError or RunError if its store cannot be used."""
    wanted = wanted_sites(config, host, places)
    if config.store.folder is None:
        return HostPasses(config, host, data, wanted, timing, take)
    if ranks > 1:
        raise ConfigError(f"a store is read by one process, not by {ranks} ranks. Leave store.folder out or start one process")
    return StoredPasses(config, host, data, wanted, timing)


class StoredPasses:
    """Gives each step its pass from the store, after running the host for what the store lacks.

    The host is run on the batches of the first epoch, in order, so what a place holds does not depend on when or by
    which process it was written (fits of other batch_rows may differ in the host's rounding). Dictionaries see what was
    kept also where it was run just now. While another process writes, this one follows it and takes over if it ends.
    """

    def __init__(self, config: FitConfig, host: Host, data: DataSource, wanted: Wanted, timing: Timing) -> None:
        self.config, self.host, self.data, self.wanted, self.timing = config, host, data, wanted, timing
        self.size = config.batch_rows
        self.steps = math.ceil(config.tokens / (self.size * data.positions_per_row))
        self.needed = min(data.n_train, self.steps * self.size)
        self._place = torch.empty(data.n_train, dtype=torch.int64)
        self._place[data.train_indices(0, data.n_train)] = torch.arange(data.n_train)
        found = Stores(config, host, data, wanted, self.needed)
        self.head: Head | None = found.head
        self.streams, self.templates = found.streams, found.templates
        self._provenance = found.provenance
        self._reader = ThreadPoolExecutor(1, thread_name_prefix="store-reader")
        self._ahead: tuple[int, Future[StoredPass]] | None = None
        self._window: tuple[int, list[tuple[Tensor, Tensor]]] | None = None
        self._writing = self._waited = False
        self._disk = 0.0

    def samples(self, sites: list[Site]) -> dict[Site, Tensor]:
        """Return activations [n, d] of the first rows at each site.

        Those of the fit that began the store are kept beside it, because a run of other rows in one batch rounds otherwise.
        """
        n = sample_size(self.config, self.data)
        paths = {site: self._stream(site).folder / f"sample-{n}.safetensors" for site in sites}
        found = {site: self._load_sample(path, site) for site, path in paths.items() if path.exists()}
        batch = self.data.train_batch(0, n)
        for site in sites:
            if site not in found and self._stream(site).known >= n:
                found[site] = self._site_rows(site, torch.arange(n), batch.keep, n).float()
        if missing := [site for site in sites if site not in found]:
            self.host.prepare(self.data.train_batch(0, 1).to(self.host.device).inputs, self.wanted.own)
            found |= host_samples(self.config, self.host, self.data, missing)
            for site in missing if not self.config.store.read_only else []:
                files.save_tensors(paths[site], {"rows": found[site]})
        return found

    def at(self, step: int) -> SharedPass:
        """Return the pass of a step, and begin to read the next one."""
        if self._ahead is not None and self._ahead[0] == step:
            with self.timing.during("wait"):
                shared = self._ahead[1].result()
        else:
            self._fill(self._target(step))
            with self.timing.during("wait"):
                shared = self._job(step)()
        self._ahead = None
        after = step + 1
        if after < self.steps and self._target(after) <= min(stream.store.places for stream in self.streams if stream.store):
            self._ahead = (after, self._reader.submit(self._job(after)))
        self._count_disk()
        return shared

    def close(self, *, finished: bool) -> None:
        """Write what does not fill a shard if training came to its end, and give the stores back."""
        self._reader.shutdown(wait=True)
        self._ahead = None
        try:
            if finished:
                self._fill(self.needed)
                with self.timing.during("wait"):
                    self._release(finish=True)
        finally:
            self._release(finish=False)
        self._count_disk()

    def _window_of(self, step: int) -> tuple[int, range]:
        """Return the number of the window a step belongs to, and the window's steps."""
        steps = max(1, self.config.store.shuffle_rows // self.size)
        window = step // steps
        return window, range(window * steps, min((window + 1) * steps, self.steps))

    def _target(self, step: int) -> int:
        """Return how many places must be there for a step."""
        steps = self._window_of(step)[1] if self.config.store.shuffle_rows else [step]
        return 1 + max(int(self._places(number).max()) for number in steps)

    def _places(self, step: int) -> Int[Tensor, " r"]:
        return self._place[self.data.train_indices(step, self.size)]

    def _fill(self, target: int) -> None:
        """Run the host on the batches of the first epoch until so many places are there."""
        while (known := min(stream.known for stream in self.streams)) < target:
            if not self._writing and not self._acquire():
                continue
            step = known // self.size
            batch = self.data.train_batch(step, self.size).to(self.host.device)
            with self.timing.during("host"):
                shared = run_host(self.host, batch, self.wanted, self.head)
            with self.timing.during("wait"):
                first = step * self.size
                new = min(self.size, self.data.n_train - first)
                for stream, value in zip(self.streams, values_of(self.streams, shared, self.templates), strict=True):
                    stream.append(value, batch.keep, self.size, first, new)

    def _acquire(self) -> bool:
        """Take every store for writing; if another process has one, wait a little, see what it wrote, return False."""
        shard_bytes = (self.config.store.shard_mb << 20) // len(self.streams)
        try:
            # In one order for all processes, and none is held while waiting for another.
            for stream in sorted(self.streams, key=lambda stream: stream.identity.key):
                stream.open_writer(shard_bytes, self.needed, self._provenance(stream))
        except StoreBusyError as error:
            self._release(finish=False)
            if not self._waited:
                log.info("%s This fit follows it.", str(error).split(" Wait for it")[0])
            self._waited = True
            with self.timing.during("wait"):
                time.sleep(POLL)
                for stream in self.streams:
                    stream.look()
            return False
        self._writing = True
        self.host.prepare(self.data.train_batch(0, 1).to(self.host.device).inputs, self.wanted.own)
        self._check_room()
        return True

    def _check_room(self) -> None:
        wanted = sum(stream.bytes_for(self.needed - stream.known) for stream in self.streams)
        folder = str(self.config.store.folder)
        free = shutil.disk_usage(folder).free
        log.info("the store in %s will take %s MiB more", folder, f"{wanted / 2**20:,.0f}")
        if wanted > free:
            raise RunError(
                f"the store in {folder} needs {wanted / 2**20:,.0f} MiB more, but only {free / 2**20:,.0f} MiB are free. Make "
                f"room, choose another folder or a smaller dtype (store.dtype), or train on fewer tokens."
            )

    def _release(self, *, finish: bool) -> None:
        writers = [(stream, stream.writer) for stream in self.streams if stream.writer is not None]
        self._writing = False
        problems = []
        for stream, writer in writers:
            stream.writer = None
            try:
                writer.close(finish=finish)
            except RunError as error:
                problems.append(error)
            self.timing.add("disk", writer.seconds)
        if problems:
            raise problems[0]

    def _count_disk(self) -> None:
        used = sum(stream.store.seconds for stream in self.streams if stream.store)
        self.timing.add("disk", max(0.0, used - self._disk))
        self._disk = used

    def _job(self, step: int) -> Callable[[], StoredPass]:
        """Return a function that reads the pass of a step; it may run in another thread while this one trains."""
        if self.config.store.shuffle_rows:
            return lambda: self._shuffled(step)
        batch, places = self.data.train_batch(step, self.size), self._places(step)

        def read() -> StoredPass:
            moved = batch.to(self.host.device)
            rows = {site: self._site_rows(site, places, batch.keep, self.size) for site in self._row_sites()}
            prefixes = {}
            for site, template in self.templates.items():
                kept = {name: self._part(site, name, places) for name in template.kept}
                value = site.features_last(kept[VALUE])
                rows[site] = rows_of(value, moved.keep)
                prefixes[site] = template.prefix(kept, self.size)
            features = None
            for stream in self.streams:
                if stream.what == FEATURES:
                    features = self._values(stream, places, batch.keep, self.size)
            found = StoredPass(self.host, moved.inputs, moved.keep, self.head, rows, features, prefixes)
            found.labels = kept_labels(moved) if self.wanted.labels else None
            return found

        return read

    def _shuffled(self, step: int) -> StoredPass:
        window, steps = self._window_of(step)
        if self._window is None or self._window[0] != window:
            places = torch.cat([self._places(number) for number in steps])
            stores = [stream.store for stream in self.streams if stream.store]
            self._window = (window, [(store.first_rows(places), store.counts(places)) for store in stores])
        rows = {}
        for stream, (first, counts) in zip(self.streams, self._window[1], strict=True):
            assert stream.store is not None
            part = {"seed": self.data.seed, "window": window, "part": step - steps[0], "parts": len(steps)}
            rows[stream.site] = stream.store.take_rows(shuffled_rows(first, counts, **part)).to(self.host.device)
        return StoredPass(self.host, None, None, None, rows)

    def _row_sites(self) -> list[Site]:
        return [stream.site for stream in self.streams if stream.what == ROWS]

    def _stream(self, site: Site) -> Stream:
        """Return the stream that holds a site's own values."""
        return next(s for s in self.streams if s.site == site and s.what in (ROWS, PREFIX + VALUE))

    def _site_rows(self, site: Site, places: Tensor, keep: Tensor | None, n: int) -> Tensor:
        """Return the kept rows of a site at these places, in the host's own order."""
        stream = self._stream(site)
        if stream.what == ROWS:
            return self._values(stream, places, keep, n)
        value = site.features_last(self._part(site, VALUE, places))
        return rows_of(value, None if keep is None else keep.to(value.device))

    def _values(self, stream: Stream, places: Tensor, keep: Tensor | None, n: int) -> Tensor:
        assert stream.store is not None
        rows = stream.value(stream.store.take(places), keep, n).to(self.host.device)
        return rows.to(self._dtype()) if self.config.store.dtype == "float32" else rows

    def _part(self, site: Site, name: str, places: Tensor) -> Tensor:
        """Return one tensor of the prefixes of these places."""
        stream = next(s for s in self.streams if s.site == site and s.what == PREFIX + name)
        assert stream.store is not None
        example = self.templates[site].kept[name].example
        return stream.value(stream.store.take(places), None, len(places), example).to(self.host.device)

    def _dtype(self) -> torch.dtype:
        """Return the type of the host's numbers, which float32 holds exactly."""
        found = (p.dtype for p in self.host.module.parameters() if p.is_floating_point() and p.dtype.itemsize <= 4)
        return next(found, torch.float32)

    def _load_sample(self, path: Path, site: Site) -> Tensor:
        rows = files.load_tensors(path).get("rows")
        width = self._stream(site).width
        if rows is None or rows.ndim != 2 or rows.dtype != torch.float32:
            raise FileFormatError(f"{path} does not hold rows of float32. Delete it; it is written again.")
        if self._stream(site).what == ROWS and rows.shape[1] != width:
            found = f"{path} holds rows of width {rows.shape[1]}"
            raise FileFormatError(f"{found}, wanted {width}. Delete it; it is written again.")
        return rows
