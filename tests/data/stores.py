"""A small store with known material."""

from __future__ import annotations

import torch

from pellucid.data.store import Identity, StoreWriter

WIDTH, PLACES = 24, 40


def identity(**changes):
    base = {"host": "h", "host_sha256": "a" * 64, "site": "layers.1.output", "what": "rows", "data_sha256": "b" * 64}
    return Identity(**(base | {"dtype": "float32"} | changes))


def writer(folder, shard_places=7, dtype="float32", places=PLACES):
    made = StoreWriter(folder, identity(dtype=dtype), width=WIDTH, text_rows=places, row_shape=(6,), shard_bytes=1)
    made.shard_places = shard_places
    return made


def material(places=PLACES):
    """Rows of each place; a place has 0 to 6 rows."""
    generator = torch.Generator().manual_seed(0)
    counts = torch.randint(0, 7, (places,), generator=generator)
    return [torch.randn(int(n), WIDTH, generator=generator) * 10 for n in counts], counts


def fill(made, start=0, end=PLACES, at_once=4):
    rows, counts = material()
    for first in range(start, end, at_once):
        part = slice(first, min(first + at_once, end))
        made.append(torch.cat(rows[part]), counts[part])
    return made
