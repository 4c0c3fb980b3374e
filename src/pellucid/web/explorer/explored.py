"""A run, opened to be looked at."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from pellucid.core.errors import RunError, did_you_mean
from pellucid.features.index import Index
from pellucid.web.explorer.database import Database
from pellucid.web.explorer.features import Features
from pellucid.web.explorer.matching import Matchings


class UnknownPage(RunError):
    """An address names something that the run does not have."""


class ExploredRun:
    """An indexed run: its dictionaries' features, read when first asked for."""

    def __init__(self, run: str | Path) -> None:
        """Open it; raises RunError if it has no finished index, FileFormatError if that is broken."""
        self.run = Path(run)
        if not self.run.is_dir():
            raise RunError(f"{self.run} is not a folder. Give the folder of a run: pellucid explore RUN")
        self.index = Index.open(self.run)
        self.database = Database(self.run)
        # Long work, one piece at a time: two cores also have to answer pages.
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="explorer")
        self.features = {
            name: Features(self.run, name, self.index, self.database, self._pool) for name in self.index.dictionaries
        }
        self.matchings = Matchings(self.run, self._pool)

    @property
    def title(self) -> str:
        """Name of the run: the last part of its folder."""
        return self.run.resolve().name

    @property
    def manifest(self) -> dict[str, Any]:
        """What the index says of itself."""
        return self.index.manifest

    def of(self, name: str) -> Features:
        """Return a dictionary's features; UnknownPage with the nearest names if the index has no such dictionary."""
        if name not in self.features:
            hint = did_you_mean(name[:80], self.features)
            raise UnknownPage(f"this run has no dictionary '{name[:80]}', only {', '.join(self.features)}.{hint}")
        return self.features[name]

    def warm(self) -> None:
        """Read the statistics, then have the texts of examples read in the background."""
        for features in self.features.values():
            features.ready()
        for features in self.features.values():
            self._pool.submit(features.prepare)

    def close(self) -> None:
        """Stop the background work, once the piece at hand is done, and close the database."""
        self._pool.shutdown(wait=True, cancel_futures=True)
        self.database.close()
