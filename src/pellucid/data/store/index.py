"""The index of a store: what it holds, and which shards are whole."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from pellucid.core import files
from pellucid.core.config import Config, build
from pellucid.core.errors import ConfigError, FileFormatError, raise_all
from pellucid.data.store.encoding import Error
from pellucid.data.store.identity import VERSION, Identity

INDEX = "index.json"
LARGEST = 2**40
"""No size or count in an index may exceed this."""


class ShardEntry(Config):
    """One whole shard."""

    file: str = Field(pattern=r"^shard-\d{6}\.safetensors$")
    """Name of the file in the store's folder."""
    first: int = Field(ge=0, le=LARGEST)
    """First place it holds."""
    places: int = Field(ge=1, le=LARGEST)
    """How many places it holds."""
    first_row: int = Field(ge=0, le=LARGEST)
    """Stored rows before its first."""
    rows: int = Field(ge=0, le=LARGEST)
    """Stored rows, all places together."""
    bytes: int = Field(ge=1, le=LARGEST)
    """Size of the file."""
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    """Checksum of the file."""
    squared_error: float = Field(0.0, ge=0)
    """Sum of (x - kept)^2."""
    squared: float = Field(0.0, ge=0)
    """Sum of x^2 (left at 0 where nothing is rounded)."""


class Index(Config):
    """index.json. Places are rows of data in the order of the data source's first epoch."""

    format: Literal["pellucid-activations"] = "pellucid-activations"
    version: int = VERSION
    key: str
    identity: Identity
    width: int = Field(ge=1, le=2**24)
    """Numbers in a stored row."""
    text_rows: int = Field(ge=1, le=LARGEST)
    """Places of a complete store: the training rows of the data."""
    row_dim: int = Field(ge=0, le=16)
    """Dimension of the host's value that counts rows of data."""
    row_shape: tuple[int, ...]
    """The other dimensions of positions."""
    provenance: dict[str, Any]
    """Where the numbers came from."""
    relative_rms_error: float = 0.0
    """Error of rounding, measured while writing: sqrt(sum (x - kept)^2 / sum x^2)."""
    shards: tuple[ShardEntry, ...] = ()

    @property
    def places(self) -> int:
        """Return how many places are whole."""
        return self.shards[-1].first + self.shards[-1].places if self.shards else 0

    @property
    def rows(self) -> int:
        """Return how many stored rows are whole."""
        return self.shards[-1].first_row + self.shards[-1].rows if self.shards else 0

    def with_shards(self, shards: tuple[ShardEntry, ...]) -> Index:
        """Return the index of a store with these shards."""
        error = sum((Error(shard.squared_error, shard.squared) for shard in shards), Error())
        return self.model_copy(update={"shards": shards, "relative_rms_error": error.relative_rms})

    def write(self, folder: Path) -> None:
        """Replace the index of a store atomically."""
        files.write_json(folder / INDEX, self.model_dump(mode="json"))


def shard_name(number: int) -> str:
    """Return the file name of a shard."""
    return f"shard-{number:06d}.safetensors"


def read_index(folder: Path, wanted: Identity | None = None) -> Index:
    """Read and check an index.

    Raises FileFormatError if it is malformed or contradicts itself, and ConfigError naming what was found and wanted if
    it belongs to another host, site, text or type.
    """
    path = folder / INDEX
    if not path.is_file():
        raise FileFormatError(f"{folder} holds no activation store: there is no {INDEX}")
    values = files.read_json(path)
    if not isinstance(values, dict) or values.get("format") != "pellucid-activations":
        raise FileFormatError(f"{path} is not the index of an activation store")
    if values.get("version") != VERSION:
        found = f"{path} has version {values.get('version')!r}, wanted {VERSION}"
        raise FileFormatError(f"{found}; remove {folder} and let a fit write it again")
    try:
        index = build(Index, values, where=str(path))
    except ConfigError as error:
        raise FileFormatError(f"{error}\nRemove {folder} and let a fit write it again.") from None
    _check(index, path)
    if wanted is not None and (problems := index.identity.differences(wanted)):
        title = f"the store in {folder} holds other activations. Choose another folder, or remove it"
        raise_all(problems, ConfigError, title=title)
    return index


def _check(index: Index, path: Path) -> None:
    problems = []
    place = row = 0
    for number, shard in enumerate(index.shards):
        if (shard.file, shard.first, shard.first_row) != (shard_name(number), place, row):
            found = f"{shard.file} from place {shard.first}, row {shard.first_row}"
            problems.append(f"shard {number} is {found}, wanted {shard_name(number)} from place {place}, row {row}")
            break
        place, row = place + shard.places, row + shard.rows
    if place > index.text_rows:
        problems.append(f"its shards hold {place} places, but the data has {index.text_rows} rows")
    if index.key != index.identity.key:
        problems.append(f"its key is {index.key[:12]}, but what it says of itself gives {index.identity.key[:12]}")
    raise_all(problems, FileFormatError, title=f"{path} contradicts itself; remove the folder and let a fit write it again")
