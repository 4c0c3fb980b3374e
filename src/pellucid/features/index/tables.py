"""From codes on disk to the two tables of a dictionary: some latents at a time, each piece kept until all are done."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from jaxtyping import Int

from pellucid.core import files
from pellucid.core.logging import Ticker
from pellucid.features.index.schema import EXAMPLES, EXAMPLES_FILE, LATENTS, LATENTS_FILE
from pellucid.features.index.shards import Block, Shards

BLOCK_LATENTS = 2048
BLOCK_ENTRIES = 1 << 21
"""Latents, and codes, that are worked on at once; a latent with more codes makes a block alone."""
ROW_GROUP = {LATENTS_FILE: 8192, EXAMPLES_FILE: 4096}
"""Rows of a row group: what is read to find one latent."""
NULL_WHERE_NAN = ("effect_kl", "effect_ce")

Columns = Callable[[int, int], dict[str, Any]]
"""Gives columns of latents `first` up to `last`."""


def write_tables(
    folder: Path, work: Path, shards: Shards, place: int, context: int, latents: Callable[[Block], dict[str, Any]],
    examples: Callable[[Block], pa.Table], title: str,
) -> None:  # fmt: skip
    """Write latents.parquet and examples.parquet of dictionary number `place` into `folder`, each whole or not at all.

    `latents` gives all columns of `LATENTS` for a block, `examples` a table of `EXAMPLES`. Pieces go to `work` and are not
    made again after a kill.
    """
    firings = shards.firings(place)
    spans = list(blocks(firings))
    names = {file: [work / f"{first:09d}-{file}" for first, _ in spans] for file in (LATENTS_FILE, EXAMPLES_FILE)}
    with Ticker(title, len(firings), unit="latents") as ticker:
        for number, (first, last) in enumerate(spans):
            # The examples are written last, so that they say that both are there.
            if not names[EXAMPLES_FILE][number].exists():
                block = shards.block(place, first, last, context)
                _write([latent_table(latents(block))], names[LATENTS_FILE][number], LATENTS)
                _write([examples(block)], names[EXAMPLES_FILE][number], EXAMPLES)
            ticker.advance(last - first)
    for file, schema in ((LATENTS_FILE, LATENTS), (EXAMPLES_FILE, EXAMPLES)):
        _write((pq.read_table(name) for name in names[file]), folder / file, schema)


def blocks(firings: Int[np.ndarray, " m"]) -> Iterator[tuple[int, int]]:
    """Yield (first, last) of blocks of consecutive latents that are worked on at once."""
    ends = np.concatenate([[0], firings.cumsum()])
    first = 0
    while first < len(firings):
        fitting = int(np.searchsorted(ends, ends[first] + BLOCK_ENTRIES, side="right")) - 1
        last = min(len(firings), first + BLOCK_LATENTS, max(first + 1, fitting))
        yield first, last
        first = last


def latent_table(columns: dict[str, Any]) -> pa.Table:
    """Return columns as a table of `LATENTS`."""
    arrays = []
    for field in LATENTS:
        column = columns[field.name]
        if isinstance(column, pa.Array):
            arrays.append(column.cast(field.type))
        else:
            nulls = np.isnan(column) if field.name in NULL_WHERE_NAN else None
            arrays.append(pa.array(column, mask=nulls).cast(field.type))
    return pa.Table.from_arrays(arrays, schema=LATENTS)


def _write(tables: Any, path: Path, schema: pa.Schema) -> None:
    """Write tables one after another, row group by row group; rows of a latent come before those of the next."""
    size = ROW_GROUP[path.name.rsplit("-", 1)[-1]]
    with files.atomic_path(path) as inner, pq.ParquetWriter(inner, schema, compression="zstd") as writer:
        for table in tables:
            writer.write_table(table, row_group_size=size)
