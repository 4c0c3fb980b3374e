"""Reading an index: one latent or a whole table, checked before use."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pellucid.core import files
from pellucid.core.errors import ConfigError, FileFormatError, RunError, did_you_mean, raise_all
from pellucid.core.header import read_header
from pellucid.features.index.schema import (
    EXAMPLES,
    EXAMPLES_FILE,
    FOLDER,
    FORMAT,
    LARGEST_MANIFEST,
    LATENTS,
    LATENTS_FILE,
    MANIFEST,
    VERSION,
    IndexedExample,
    Manifest,
)


class Index:
    """The finished index of a run. Files are read when asked for, a latent's without the rest of its table.

    Files are treated as hostile: any that is missing, cut short, or holds other columns is a FileFormatError by name.
    """

    def __init__(self, folder: Path, manifest: Manifest) -> None:
        self.folder = folder
        self._manifest = manifest
        self._tables: dict[tuple[str, str], _Table] = {}

    @classmethod
    def open(cls, run: str | Path) -> Index:
        """Open RUN/index.

        Raises RunError if the run has no index, an unfinished one, or one of dictionaries that were trained anew since;
        FileFormatError if its manifest is broken.
        """
        run = Path(run)
        folder = run / FOLDER
        if not (folder / MANIFEST).is_file():
            raise RunError(f"{run} has no index ({folder / MANIFEST} does not exist). Make one with 'pellucid index {run}'.")
        manifest = read_manifest(folder)
        if not manifest.finished:
            raise RunError(f"the index of {run} is not finished. Run 'pellucid index {run}' again: it goes on where it was.")
        _refuse_stale(run, manifest)
        return cls(folder, manifest)

    @property
    def dictionaries(self) -> list[str]:
        """Names of the dictionaries."""
        return list(self._manifest.dictionaries)

    @cached_property
    def manifest(self) -> dict[str, Any]:
        """What manifest.json says; the keys of `Manifest`."""
        return self._manifest.model_dump(mode="json")

    def n_latents(self, name: str) -> int:
        """Return how many latents a dictionary has; ConfigError if it is not in the index."""
        if name not in self._manifest.dictionaries:
            known = self.dictionaries
            raise ConfigError(f"the index has no dictionary '{name}', only {known}.{did_you_mean(name, known)}")
        return self._manifest.dictionaries[name].n_latents

    def path(self, name: str, file: str = LATENTS_FILE) -> Path:
        """Return the path of a dictionary's table, for readers of Parquet files; ConfigError if it is not in the index."""
        self.n_latents(name)
        return self.folder / name / file

    def latents(self, name: str, columns: Sequence[str] | None = None) -> pa.Table:
        """Return the table of all latents (`schema.LATENTS`), or some of its columns.

        Raises ConfigError if the dictionary or a column is unknown.
        """
        unknown = [column for column in columns or () if column not in LATENTS.names]
        raise_all([f"latents have no column '{column}'.{did_you_mean(column, LATENTS.names)}" for column in unknown])
        return self._table(name, LATENTS_FILE).read(columns)

    def latent(self, name: str, i: int) -> dict[str, Any]:
        """Return the row of latent i as Python values by column; ConfigError if there is no such latent."""
        self._check_latent(name, i)
        return self._table(name, LATENTS_FILE).rows(i)[0]

    def examples(self, name: str, i: int) -> list[IndexedExample]:
        """Return the examples of latent i, the very top first, then decile by decile; none if it never fires.

        Raises ConfigError if there is no such latent.
        """
        self._check_latent(name, i)
        return [IndexedExample(**row) for row in self._table(name, EXAMPLES_FILE).rows(i)]

    def n_examples(self, name: str) -> int:
        """Return how many examples of all latents there are; ConfigError if the dictionary is not in the index."""
        return int(self._table(name, EXAMPLES_FILE).metadata.num_rows)

    def _check_latent(self, name: str, i: int) -> None:
        n = self.n_latents(name)
        if not 0 <= i < n:
            raise ConfigError(f"dictionary '{name}' has latents 0 to {n - 1}, asked for {i}")

    def _table(self, name: str, file: str) -> _Table:
        key = (name, file)
        if key not in self._tables:
            n = self.n_latents(name)
            per_latent = file == LATENTS_FILE
            self._tables[key] = _Table(self.path(name, file), LATENTS if per_latent else EXAMPLES, n if per_latent else None)
        return self._tables[key]


def read_manifest(folder: Path) -> Manifest:
    """Return the manifest of an index folder; FileFormatError if it is broken."""
    path = folder / MANIFEST
    manifest = read_header(
        path, Manifest, what="index", weights=LATENTS_FILE, form=FORMAT, version=VERSION, largest=LARGEST_MANIFEST
    )
    bad = [name for name in manifest.dictionaries if not name or Path(name).name != name]
    raise_all([f"{path} names a dictionary {name!r}, wanted the name of a folder" for name in bad], FileFormatError)
    return manifest


class _Table:
    """A Parquet file whose rows are sorted by its column 'latent'."""

    def __init__(self, path: Path, schema: pa.Schema, n_rows: int | None) -> None:
        """Read the footer; FileFormatError if it is not a table of that schema (and number of rows)."""
        self.path = path
        try:
            self.metadata = pq.read_metadata(path)
            found = self.metadata.schema.to_arrow_schema()
        except FileNotFoundError:
            raise FileFormatError(f"{path} does not exist. Make the index again with 'pellucid index RUN --replace'.") from None
        except (pa.ArrowException, OSError) as error:
            raise self._broken(error) from None
        problems = [f"column '{name}' is missing" for name in schema.names if name not in found.names]
        problems += [
            f"column '{field.name}' holds {found.field(field.name).type}, wanted {field.type}"
            for field in schema
            if field.name in found.names and not _alike(found.field(field.name).type, field.type)
        ]
        if n_rows is not None and self.metadata.num_rows != n_rows:
            problems.append(f"it has {self.metadata.num_rows} rows, wanted one for each of {n_rows} latents")
        raise_all(problems, FileFormatError, title=f"{path} is not a table of this index")
        self.names = schema.names
        self._column = found.names.index("latent")

    def read(self, columns: Sequence[str] | None) -> pa.Table:
        """Return the whole table, or some of its columns."""
        try:
            with pq.ParquetFile(self.path, metadata=self.metadata) as file:
                return file.read(list(columns or self.names))
        except (pa.ArrowException, OSError) as error:
            raise self._broken(error) from None

    def rows(self, latent: int) -> list[dict[str, Any]]:
        """Return the rows of one latent, reading only the row groups that may hold it."""
        try:
            with pq.ParquetFile(self.path, metadata=self.metadata) as file:
                groups = [g for g in range(self.metadata.num_row_groups) if self._may_hold(g, latent)]
                if not groups:
                    return []
                table = file.read_row_groups(groups, self.names)
        except (pa.ArrowException, OSError) as error:
            raise self._broken(error) from None
        found = table.filter(pc.equal(table["latent"], latent))
        if len(found) == 0 and self.path.name == LATENTS_FILE:
            raise FileFormatError(f"{self.path} has no row for latent {latent}. Make the index again.")
        return found.to_pylist()

    def _may_hold(self, group: int, latent: int) -> bool:
        statistics = self.metadata.row_group(group).column(self._column).statistics
        return statistics is None or not statistics.has_min_max or statistics.min <= latent <= statistics.max

    def _broken(self, error: Exception) -> FileFormatError:
        return FileFormatError(
            f"{self.path} is not a readable Parquet file: {error}. Make the index again with 'pellucid index RUN --replace'."
        )


def _alike(found: pa.DataType, wanted: pa.DataType) -> bool:
    """Whether two types hold the same values; lists may name theirs differently."""
    if pa.types.is_list(found) and pa.types.is_list(wanted):
        return found.value_type == wanted.value_type
    return found == wanted


def _refuse_stale(run: Path, manifest: Manifest) -> None:
    """Raise RunError if a dictionary of the run has other weights than the one that was indexed."""
    stale = []
    for name, indexed in manifest.dictionaries.items():
        path = run / "dictionaries" / name / "config.json"
        if path.is_file() and files.read_json(path).get("weights_sha256") != indexed.weights_sha256:
            stale.append(f"dictionary '{name}' has other weights than when it was indexed")
    raise_all(stale, RunError, title=f"the index of {run} is out of date; make it again with 'pellucid index {run} --replace'")
