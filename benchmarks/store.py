"""How fast activations come from a store, and how long a second fit waits for them.

    python benchmarks/store.py [--json] [--mb 512] [--fit-tokens 40960]

Writing: seconds from the first append to the last shard on disk (fsync and checksum included). Reading: batches of 1,016
rows of width 576 as a fit asks for them (8 rows of text at random places, shuffled positions of a window of 256, or in
order), warm, after checksums; beside it a copy of as many bytes from memory to memory and from a memory-mapped file. The
second fit: TopK k = 32, 4,608 latents at block 14 of SmolLM2, with everything stored by a first one.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from pellucid import DictionaryConfig, FitConfig, Host, TopKConfig
from pellucid.core.allocator import keep_freed_memory
from pellucid.core.provenance import environment
from pellucid.data import load_text
from pellucid.data.store import ActivationStore, Identity, StoreConfig, StoreWriter, shuffled_rows
from pellucid.training import fit

WIDTH, CONTEXT, ROWS, WINDOW = 576, 127, 8, 256
GB = 1e9


def identity(dtype: Any) -> Identity:
    """An identity for numbers made here."""
    return Identity(host="benchmark", host_sha256="0" * 64, site="-", what="rows", data_sha256="0" * 64, dtype=dtype)


def write(folder: Path, dtype: Any, places: int) -> tuple[ActivationStore, float]:
    """Write a store of random rows; return it and the seconds that took."""
    counts = torch.full((ROWS,), CONTEXT)
    rows = torch.randn(ROWS * CONTEXT, WIDTH, generator=torch.Generator().manual_seed(0))
    start = time.perf_counter()
    writer = StoreWriter(folder, identity(dtype), width=WIDTH, text_rows=places, row_shape=(CONTEXT,))
    for _ in range(places // ROWS):
        writer.append(rows, counts)
    writer.close(finish=True)
    return ActivationStore(folder), time.perf_counter() - start


def median_rate(read: Callable[[int], Any], repeats: int) -> float:
    """Return GB/s of float32 handed over, the median over reads."""
    times = []
    for number in range(repeats):
        start = time.perf_counter()
        read(number)
        times.append(time.perf_counter() - start)
    return ROWS * CONTEXT * WIDTH * 4 / statistics.median(times) / GB


def reading(store: ActivationStore, places: int, repeats: int) -> dict[str, float]:
    """Return GB/s of each way to ask a warm store for a batch."""
    generator = torch.Generator().manual_seed(1)
    batches = [torch.randperm(places, generator=generator)[:ROWS] for _ in range(repeats)]
    window = torch.arange(WINDOW)
    first, counts = store.first_rows(window), store.counts(window)
    parts = WINDOW // ROWS
    shuffled = [shuffled_rows(first, counts, seed=0, window=0, part=n % parts, parts=parts) for n in range(repeats)]
    store.take(torch.arange(places))
    return {
        "random_text_rows": median_rate(lambda n: store.take(batches[n]), repeats),
        "shuffled_positions": median_rate(lambda n: store.take_rows(shuffled[n]), repeats),
        "in_order": median_rate(lambda n: store.take(torch.arange(ROWS) + ROWS * (n % (places // ROWS))), repeats),
    }


def ceilings(folder: Path, places: int, repeats: int) -> dict[str, float]:
    """Return GB/s of copying a batch from memory, and of copying random text rows from a mapped file."""
    size = ROWS * CONTEXT
    source, target = np.random.default_rng(0).random((2, size, WIDTH), dtype=np.float32)
    path = folder / "plain.bin"
    with path.open("wb") as file:
        for _ in range(places // ROWS):
            file.write(source.tobytes())
    mapped = np.memmap(path, dtype=np.float32, mode="r", shape=(places, CONTEXT, WIDTH))
    order = [np.random.default_rng(n).integers(0, places, ROWS) for n in range(repeats)]
    out = np.empty((ROWS, CONTEXT, WIDTH), np.float32)
    np.asarray(mapped).sum()

    def gather(number: int) -> None:
        for at, place in enumerate(order[number]):
            out[at] = mapped[place]

    found = {"memcpy": median_rate(lambda _: np.copyto(target, source), repeats), "memmap": median_rate(gather, repeats)}
    path.unlink()
    return found


def second_fit(folder: Path, tokens: int) -> dict[str, Any]:
    """Return the time reports of a fit that writes a store and of one that reads it."""
    host = Host.load("smollm2")
    dictionary = DictionaryConfig(site="layers.14", architecture=TopKConfig(n_latents=4608, k=32))
    config = FitConfig(dictionaries={"d": dictionary}, tokens=tokens, store=StoreConfig(folder=str(folder / "store")))
    data = load_text(config.data, host.tokenizer)
    reports = {}
    for name in ("first", "second"):
        run = fit(config, folder / name, host=host, data=data)
        reports[name] = json.loads((run / "timing.json").read_text())
    weights = [(folder / name / "dictionaries" / "d" / "weights.safetensors").read_bytes() for name in ("first", "second")]
    return {**reports, "same_bytes": weights[0] == weights[1]}


def measure(arguments: argparse.Namespace) -> dict[str, Any]:
    """Return everything."""
    places = max(WINDOW, arguments.mb * 2**20 // (CONTEXT * WIDTH * 4) // ROWS * ROWS)
    result: dict[str, Any] = {"places": places, "rows": places * CONTEXT, "width": WIDTH, "stores": []}
    with tempfile.TemporaryDirectory(dir=arguments.folder) as name:
        folder = Path(name)
        result["ceilings"] = ceilings(folder, places, arguments.repeats)
        for dtype in ("float32", "bfloat16", "int8"):
            store, seconds = write(folder / dtype, dtype, places)
            size = sum(entry.bytes for entry in store.index.shards)
            row = {
                "dtype": dtype,
                "bytes": size,
                "relative_rms_error": store.index.relative_rms_error,
                "write_gb_s": places * CONTEXT * WIDTH * 4 / seconds / GB,
                "write_disk_gb_s": size / seconds / GB,
                "read_gb_s": reading(store, places, arguments.repeats),
            }
            result["stores"].append(row)
        if arguments.fit_tokens:
            result["fit"] = second_fit(folder, arguments.fit_tokens)
    return result


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--mb", type=int, default=512, help="size of the float32 store")
    parser.add_argument("--repeats", type=int, default=50, help="batches read in each way")
    parser.add_argument("--fit-tokens", type=int, default=40_960, help="tokens of the two fits; 0 for none")
    parser.add_argument("--folder", default=None, help="where the stores are put while measuring")
    arguments = parser.parse_args()
    keep_freed_memory()
    result = measure(arguments)
    if arguments.json:
        sys.stdout.write(json.dumps({**result, **environment()}) + "\n")
        return
    sys.stdout.write("".join(f"{name} {rate:.2f} GB/s\n" for name, rate in result["ceilings"].items()))
    for row in result["stores"]:
        rates = ", ".join(f"{name} {rate:.2f}" for name, rate in row["read_gb_s"].items())
        error = f"error {row['relative_rms_error']:.2e}"
        sys.stdout.write(f"{row['dtype']:<9} {error}, write {row['write_gb_s']:.2f} GB/s, read GB/s: {rates}\n")
    for name, report in result.get("fit", {}).items():
        sys.stdout.write(f"{name}: {report}\n")


if __name__ == "__main__":
    main()
