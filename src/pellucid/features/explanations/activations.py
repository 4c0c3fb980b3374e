"""Where chosen latents fire in training and in held-out rows, kept on disk for a job that goes on."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from pellucid.core import files
from pellucid.core.errors import DataError
from pellucid.data import Batch, DataSource
from pellucid.dictionaries import Dictionary
from pellucid.features.codes import held_out_codes
from pellucid.features.examples import on_grid
from pellucid.hosts import Host, Site

PARTS = ("train", "held_out")


@dataclass(frozen=True)
class Activations:
    """The positive codes of some latents in the first rows of one part of a data source, sorted by latent."""

    part: str
    texts: list[list[str]]
    """Text of each token, by row."""
    latents: Int[np.ndarray, " e"]
    places: Int[np.ndarray, " e"]
    """row * context + position"""
    codes: Float[np.ndarray, " e"]

    def plane(self, latent: int) -> Float[np.ndarray, "rows n"]:
        """Return a latent's codes at every position, zeros where it is silent."""
        first, last = np.searchsorted(self.latents, [latent, latent + 1])
        plane = np.zeros(len(self.texts) * len(self.texts[0]), np.float32)
        plane[self.places[first:last]] = self.codes[first:last]
        return plane.reshape(len(self.texts), -1)


class _Rows(DataSource):
    """One part of a source as held-out rows, so that both are read in the same way."""

    def __init__(self, source: DataSource, part: str) -> None:
        n = source.n_train if part == "train" else source.n_held_out
        super().__init__(0, n, source.positions_per_row, source.seed)
        self.source, self.part = source, part

    def train_rows(self, indices: Int[Tensor, " batch"]) -> Batch:
        return self.held_out_rows(indices)

    def held_out_rows(self, indices: Int[Tensor, " batch"]) -> Batch:
        return self.source.train_rows(indices) if self.part == "train" else self.source.held_out_rows(indices)

    def digest(self) -> str:
        return self.source.digest()

    def describe(self) -> dict[str, Any]:
        return self.source.describe()

    def tokens_text(self, batch: Batch) -> list[list[str]] | None:
        return self.source.tokens_text(batch)


@dataclass(frozen=True)
class Wanted:
    """Latents of one dictionary."""

    dictionary: Dictionary
    site: Site
    latents: list[int]
    """In order."""
    identity: str
    """Names the dictionary's weights and the data: codes of others are not taken for these."""


def read_activations(
    folder: Path, host: Host, data: DataSource, wanted: Mapping[str, Wanted], part: str, *, rows: int | None, batch_rows: int
) -> dict[str, Activations]:
    """Return the positive codes of latents in the first `rows` rows (None: all) of a part, 'train' or 'held_out'.

    Those that an earlier job left in `folder` are read from there, also if it wanted other latents besides; one pass of the
    host, up to the last site, makes the others. Memory: 16 bytes for each positive code of the latents of all these jobs,
    and the text. Raises DataError if the part has no row or is no text, and what `held_out_codes` raises.
    """
    source = _Rows(data, part)
    n = min(rows or source.n_held_out, source.n_held_out)
    if n == 0:
        raise DataError(f"the data has no {part.replace('_', '-')} rows, wanted some: explanations are scored on unseen text")
    texts = source.tokens_text(source.held_out_rows(torch.arange(n)))
    if texts is None:
        raise DataError("latents are explained by text, but the rows of this data source are no text; use text data")
    paths = {name: codes_path(folder, name, one, part, n) for name, one in wanted.items()}
    found = {name: files.load_tensors(path) if path.is_file() else {} for name, path in paths.items()}
    missing = {name: _without(one, found[name]) for name, one in wanted.items()}
    missing = {name: one for name, one in missing.items() if one.latents}
    for name, codes in (_pass(host, source, missing, n, batch_rows, part) if missing else {}).items():
        codes["read"] = torch.tensor(missing[name].latents)
        found[name] = _merged(found[name], codes) if found[name] else codes
        files.save_tensors(paths[name], found[name])
    return {
        name: Activations(part, texts, *(codes[kind].numpy() for kind in ("latent", "place", "code")))
        for name, codes in found.items()
    }


def codes_path(folder: Path, name: str, wanted: Wanted, part: str, rows: int) -> Path:
    """Return the file for the codes of a dictionary in so many rows; its tensor `read` says of which latents."""
    key = hashlib.sha256(json.dumps([wanted.identity, part, rows]).encode()).hexdigest()[:16]
    return folder / f"{name}-{part}-{key}.safetensors"


def _without(wanted: Wanted, found: Mapping[str, Tensor]) -> Wanted:
    known = set(found["read"].tolist()) if found else set()
    return replace(wanted, latents=[latent for latent in wanted.latents if latent not in known])


def _merged(one: Mapping[str, Tensor], other: Mapping[str, Tensor]) -> dict[str, Tensor]:
    codes = _sorted(*(torch.cat([one[kind], other[kind]]) for kind in ("latent", "place", "code")))
    return {**codes, "read": torch.cat([one["read"], other["read"]])}


@torch.no_grad()
def _pass(
    host: Host, source: DataSource, wanted: Mapping[str, Wanted], rows: int, batch_rows: int, part: str
) -> dict[str, dict[str, Tensor]]:
    found: dict[str, list[tuple[Tensor, Tensor, Tensor]]] = {name: [] for name in wanted}
    dictionaries = {name: (one.dictionary, one.site) for name, one in wanted.items()}
    title = f"reading {part.replace('_', '-')} text"
    first = 0
    with host.held():
        for batch, codes_of in held_out_codes(host, source, dictionaries, rows=rows, batch_rows=batch_rows, title=title):
            shape = tuple(batch.inputs["input_ids"].shape)
            for name, one in wanted.items():
                latents = torch.tensor(one.latents, device=host.device)
                grid = on_grid(codes_of(name)[:, latents], batch.keep, (shape[0], shape[1]), one.site).flatten(0, 1)
                place, at = (grid > 0).nonzero(as_tuple=True)
                found[name].append((latents[at].int().cpu(), (place + first).cpu(), grid[place, at].float().cpu()))
            first += shape[0] * shape[1]
    return {name: _sorted(*(torch.cat(parts) for parts in zip(*entries, strict=True))) for name, entries in found.items()}


def _sorted(latents: Tensor, places: Tensor, codes: Tensor) -> dict[str, Tensor]:
    order = latents.sort(stable=True).indices
    return {"latent": latents[order], "place": places[order], "code": codes[order]}
