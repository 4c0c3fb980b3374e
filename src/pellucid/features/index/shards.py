"""Codes on disk between the pass over the text and the statistics: written by position, read by latent.

A shard holds the codes of some consecutive rows of text, of every dictionary, twice: ordered by position (which latents
fire there), and ordered by latent (on which positions, with which codes). It is written whole or not at all.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int

from pellucid.core import files
from pellucid.core.errors import FileFormatError
from pellucid.features.index.codes import Codes

BYTES = 12
"""Bytes of a code on disk: latent; position and value."""


class Buffer:
    """Codes of one dictionary that are not on disk yet."""

    def __init__(self, n_latents: int) -> None:
        self.n_latents = n_latents
        self._latents: list[Int[np.ndarray, " e"]] = []
        self._values: list[Float[np.ndarray, " e"]] = []
        self._places: list[Int[np.ndarray, " e"]] = []

    def add(self, codes: Codes, places: Int[np.ndarray, " e"]) -> None:
        """Take the codes of the next batch; `places` is the position of each, counted from the first of the index."""
        self._latents.append(codes.latents.cpu().numpy().astype(np.int32))
        self._values.append(codes.values.cpu().numpy())
        self._places.append(places)

    def __len__(self) -> int:
        return sum(len(values) for values in self._values)

    def write(self, folder: Path, first: int, last: int) -> None:
        """Write the codes, which lie at positions `first` up to `last`, and forget them."""
        latents, values, places = (
            np.concatenate(parts) if parts else np.empty(0, kind)
            for parts, kind in ((self._latents, np.int32), (self._values, np.float32), (self._places, np.int64))
        )
        self.__init__(self.n_latents)  # type: ignore[misc]
        order = torch.sort(torch.from_numpy(latents), stable=True).indices.numpy()
        folder.mkdir(parents=True)
        arrays = {
            "latents": latents,
            "starts": np.searchsorted(places, np.arange(first, last + 1)).astype(np.int64),
            "values": values[order],
            "positions": (places[order] - first).astype(np.uint32),
            "offsets": np.concatenate([[0], np.bincount(latents, minlength=self.n_latents).cumsum()]).astype(np.int64),
        }
        for name, array in arrays.items():
            np.save(folder / f"{name}.npy", array, allow_pickle=False)


@dataclass(frozen=True)
class Block:
    """The codes of consecutive latents, ordered by latent and then by position."""

    first: int
    """First latent."""
    starts: Int[np.ndarray, " b_plus_1"]
    """Entries of latent `first` + i are starts[i] up to starts[i + 1]."""
    positions: Int[np.ndarray, " e"]
    """row * context + position, rows counted from the first of the index."""
    values: Float[np.ndarray, " e"]

    @property
    def n(self) -> int:
        """Number b of latents."""
        return len(self.starts) - 1

    @property
    def latents(self) -> Int[np.ndarray, " e"]:
        """Latent of each entry, counted from the first of the block."""
        return np.repeat(np.arange(self.n), np.diff(self.starts))


class Shards:
    """The shards of an index that is being made: RUN/index/work/shard-000000, ..."""

    def __init__(self, folder: Path) -> None:
        """Find the shards in a folder; FileFormatError if one is broken."""
        self.folder = folder
        self.paths = sorted(path for path in folder.glob("shard-*") if path.is_dir())
        self.said = [files.read_json(path / "shard.json") for path in self.paths]
        if any(not isinstance(said, dict) or "last" not in said for said in self.said):
            raise FileFormatError(f"a shard in {folder} does not say which rows it holds. Remove {folder} and index again.")

    @property
    def rows(self) -> int:
        """Rows of text on disk."""
        return int(self.said[-1]["last"]) if self.said else 0

    def append(
        self, buffers: Mapping[str, Buffer], last: int, context: int, said: dict[str, Any], arrays: Mapping[str, np.ndarray]
    ) -> None:
        """Write the codes of the rows up to `last`, with what else a resume needs, whole or not at all."""
        first, path = self.rows, self.folder / f"shard-{len(self.paths):06d}"
        said = {"first": first, "last": last, **said}
        with files.atomic_path(path) as inner:
            inner.mkdir()
            for place, buffer in enumerate(buffers.values()):
                buffer.write(inner / str(place), first * context, last * context)
            for name, array in arrays.items():
                np.save(inner / f"{name}.npy", array, allow_pickle=False)
            files.write_json(inner / "shard.json", said, atomic=False)
        self.paths.append(path)
        self.said.append(said)

    def last_array(self, name: str) -> np.ndarray:
        """Return an array that the last shard was written with."""
        return _load(self.paths[-1] / f"{name}.npy")

    def firings(self, place: int) -> Int[np.ndarray, " m"]:
        """Return on how many positions each latent of dictionary number `place` fires."""
        return np.sum([np.diff(_load(path / str(place) / "offsets.npy")) for path in self.paths], axis=0)

    def block(self, place: int, first: int, last: int, context: int) -> Block:
        """Return the codes of latents `first` up to `last`."""
        latents, positions, values = [], [], []
        for path, said in zip(self.paths, self.said, strict=True):
            offsets = _load(path / str(place) / "offsets.npy", lazily=True)[first : last + 1]
            part = slice(int(offsets[0]), int(offsets[-1]))
            latents.append(np.repeat(np.arange(last - first, dtype=np.int32), np.diff(offsets)))
            positions.append(_load(path / str(place) / "positions.npy", lazily=True)[part] + np.int64(said["first"] * context))
            values.append(np.array(_load(path / str(place) / "values.npy", lazily=True)[part]))
        latent, order = torch.sort(torch.from_numpy(np.concatenate(latents)), stable=True)
        starts = np.searchsorted(latent.numpy(), np.arange(last - first + 1))
        by_latent = order.numpy()
        return Block(first, starts, np.concatenate(positions)[by_latent], np.concatenate(values)[by_latent])

    def by_position(self, place: int) -> list[tuple[Int[np.ndarray, " n_plus_1"], Int[np.ndarray, " e"]]]:
        """Return for each shard (starts, latents): those that fire at its position p are latents[starts[p] : starts[p + 1]]."""
        folders = [path / str(place) for path in self.paths]
        return [(_load(f / "starts.npy", lazily=True), _load(f / "latents.npy", lazily=True)) for f in folders]


def _load(path: Path, *, lazily: bool = False) -> np.ndarray:
    try:
        return np.load(path, mmap_mode="r" if lazily else None, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        if lazily and path.is_file() and path.stat().st_size:
            return _load(path)  # an empty array cannot be mapped
        raise FileFormatError(f"{path} cannot be read: {error}. Remove {path.parents[2]} and index again.") from None
