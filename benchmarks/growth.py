"""How time and memory of a training step grow: latents, tokens, dictionaries, context.

    python benchmarks/growth.py [--axes latents tokens dictionaries context] [--repeats 5] [--out benchmarks/results] [--json]

Every point is a process of its own. `seconds` is the median over steps after two that warm up; `bytes` the growth of the peak
of resident memory over what the process held, imports and compiled kernels included, before anything of the point's size
was made.

    latents       4,096 to 131,072: one update, TopK k = 32, d = 256, 1,024 tokens, no host
    tokens        1,024 to 16,384 of a step: one update, TopK k = 32, 4,096 latents, d = 256, no host
    dictionaries  1 to 16 of 1,024 latents on block 6 of a 12-block Llama (d = 256), 1,024 tokens: a pass with all updates
    context       64 to 1,024 at 2,048 tokens a step: one end-to-end dictionary of 1,024 latents there, a pass with its update

For each axis and figure: `exponent`, the slope of log figure on log size by least squares (1 is proportional, 0 does not grow),
`last_doubling`, the figure at the largest size over that at half of it or the nearest below, scaled to a doubling, and
`off_line`, the largest distance from the straight line a + b * size that fits best (relative distances, least squares).
`--out` writes growth.json and growth.md.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from end_to_end import llama, token_ids
from resident import forget_peak, peak

from pellucid import DictionaryConfig, EndToEnd, FitConfig, Host, Local, TensorData, TopKConfig
from pellucid.core.allocator import keep_freed_memory
from pellucid.core.provenance import environment
from pellucid.kernels.divergence import Teacher
from pellucid.training.kernels import settle
from pellucid.training.trainer import Trainer

AXES = {
    "latents": [2**power for power in range(12, 18)],
    "tokens": [2**power for power in range(10, 15)],
    "dictionaries": [1, 2, 4, 8, 16],
    "context": [64, 128, 256, 512, 1024],
}
BASE = {"latents": 4096, "tokens": 1024, "dictionaries": 1, "context": 128, "width": 256, "k": 32, "blocks": 12}
"""A point without a host, where an axis says nothing else."""
ON_HOST = {"dictionaries": {"latents": 1024}, "context": {"latents": 1024, "tokens": 2048}}
"""What differs for the axes that need a host."""
FIGURES = {"seconds": "s", "bytes": "MB"}


def identity(width: int, tokens: int) -> tuple[Host, TensorData]:
    """A host that hands its input on, and random rows."""
    host = Host(torch.nn.Sequential(torch.nn.Identity(), torch.nn.Linear(width, 2)), name="none")
    return host, TensorData(torch.randn(tokens, width, generator=torch.Generator().manual_seed(0)), held_out=0.0)


def stepper(axis: str, point: dict[str, int], host: Host, data: TensorData, rows: int) -> Callable[[int], None]:
    """Return a function that takes one step of a fit of the point's dictionaries."""
    site = f"layers.{len(host.blocks) // 2}" if axis in ON_HOST else "0"
    objective = EndToEnd() if axis == "context" else Local()
    architecture = TopKConfig(n_latents=point["latents"], k=point["k"], bias_init="mean")
    dictionaries = {
        f"d{i}": DictionaryConfig(site=site, architecture=architecture, objective=objective, seed=i)
        for i in range(point["dictionaries"])
    }
    config = FitConfig(dictionaries=dictionaries, batch_rows=rows, sample_rows=min(rows, 16), tokens=2**30)
    trainer = Trainer(config, Path("not-written"), host, data)
    settle(trainer.learners, point["tokens"], "auto", {})  # as `fit` does

    def step(number: int) -> None:
        shared = trainer.passes.at(number)
        spliced = trainer.spliced and shared.features is not None
        teacher = Teacher(shared.readout, shared.features, shared=True) if spliced and shared.features is not None else None
        for learner in trainer.learners:
            learner.update(shared, teacher, 1e-4, number)

    return step


def measured(axis: str, point: dict[str, int], repeats: int, threads: int) -> dict[str, float]:
    """Measure one point in this process."""
    torch.set_num_threads(threads)
    keep_freed_memory()
    host = llama(point["blocks"], point["width"], 8192) if axis in ON_HOST else None

    def made(one: dict[str, int]) -> Callable[[int], None]:
        if host is None:
            return stepper(axis, one, *identity(one["width"], one["tokens"]), one["tokens"])
        rows = max(1, one["tokens"] // one["context"])
        data = TensorData({"input_ids": token_ids(host, rows, one["context"])}, held_out=0.0)
        return stepper(axis, one, host, data, rows)

    rehearsal = made({**point, "latents": 8 * point["k"], "tokens": 64, "dictionaries": 1, "context": 32})
    for number in range(2):
        rehearsal(number)
    del rehearsal
    before = forget_peak()
    step, seconds = made(point), []
    for number in range(repeats + 2):
        start = time.perf_counter()
        step(number)
        seconds.append(time.perf_counter() - start)
    return {"seconds": statistics.median(seconds[2:]), "bytes": peak() - before}


def in_child(axis: str, point: dict[str, int], settings: argparse.Namespace) -> dict[str, float]:
    """Measure one point in a fresh process."""
    order = json.dumps({"axis": axis, "point": point, "repeats": settings.repeats, "threads": settings.threads})
    done = subprocess.run(
        [sys.executable, __file__, "--work", order], stdout=subprocess.PIPE, text=True, check=False,
        env=os.environ | {"OMP_NUM_THREADS": str(settings.threads), "NUMBA_NUM_THREADS": str(settings.threads)},
    )  # fmt: skip
    if done.returncode:
        raise SystemExit(f"the point {point} of axis {axis} failed; see above")
    return json.loads(done.stdout.splitlines()[-1])


def growth(sizes: list[int], figures: list[float]) -> dict[str, float]:
    """Return how a figure grows with the size; see the file's docstring."""
    x, y = np.array(sizes, float), np.maximum(np.array(figures, float), 1e-12)
    slope = float(np.polyfit(np.log(x), np.log(y), 1)[0])
    line = np.stack([1 / y, x / y], axis=1)  # relative: (a + b x) / y = 1
    weights, *_ = np.linalg.lstsq(line, np.ones(len(y)), rcond=None)
    last = float((y[-1] / y[-2]) ** (math.log(2) / math.log(x[-1] / x[-2])))
    return {"exponent": slope, "last_doubling": last, "off_line": float(np.abs(line @ weights - 1).max())}


def curve(axis: str, settings: argparse.Namespace) -> dict[str, Any]:
    """Return the points of one axis and how its figures grow."""
    fixed = {**BASE, **ON_HOST.get(axis, {}), **({"width": settings.width} if settings.width else {})}
    sizes = sorted(getattr(settings, f"{axis}_sizes") or AXES[axis])
    points = [{"size": size, **in_child(axis, {**fixed, axis: size}, settings)} for size in sizes]
    found = {name: growth(sizes, [point[name] for point in points]) for name in FIGURES}
    return {"axis": axis, "fixed": {name: value for name, value in fixed.items() if name != axis}, "points": points, **found}


def page(result: dict[str, Any]) -> str:
    """Return the curves as a Markdown page."""
    lines = ["# How a training step grows", "", f"`{result['command']}`, {result['threads']} threads, medians of"]
    lines[-1] += f" {result['repeats']} steps, torch {result['versions']['torch']}. What is measured: `benchmarks/growth.py`."
    for entry in result["curves"]:
        lines += [
            "",
            f"## {entry['axis'].capitalize()}",
            "",
            "| size | s | ms per unit | MB | KB per unit |",
            "| ---: " * 5 + "|",
        ]
        for point in entry["points"]:
            size, seconds, held = point["size"], point["seconds"], point["bytes"]
            lines.append(
                f"| {size:,} | {seconds:.4f} | {1e3 * seconds / size:.4g} | {held / 1e6:,.1f} | {held / 1e3 / size:.4g} |"
            )
        lines += ["", "| figure | exponent | last doubling | off a straight line |", "| --- | ---: | ---: | ---: |"]
        for name, unit in FIGURES.items():
            found = entry[name]
            lines.append(
                f"| {unit} | {found['exponent']:.2f} | {found['last_doubling']:.2f} | {100 * found['off_line']:.0f} % |"
            )
    return "\n".join(lines) + "\n"


def parsed() -> argparse.Namespace:
    """Return the command line's settings."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--axes", nargs="+", choices=AXES, default=list(AXES))
    for axis, sizes in AXES.items():
        parser.add_argument(f"--{axis}-sizes", type=int, nargs="+", help=f"instead of {' '.join(map(str, sizes))}")
    parser.add_argument("--width", type=int, help=f"of sites, instead of {BASE['width']}")
    parser.add_argument("--repeats", type=int, default=5, help="measured steps of a point")
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--out", type=Path, help="folder for growth.json and growth.md")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--work", help=argparse.SUPPRESS)
    settings = parser.parse_args()
    given = [size for axis in AXES for size in getattr(settings, f"{axis}_sizes") or []]
    if min([settings.repeats, settings.threads, *given]) < 1:
        parser.error("--repeats, --threads and every size must be at least 1")
    if any(len(set(sizes)) < 2 for axis in AXES if (sizes := getattr(settings, f"{axis}_sizes"))):
        parser.error("an axis needs two sizes or more")
    return settings


def main() -> None:
    """Measure and print; as a child, measure one point."""
    settings = parsed()
    if settings.work:
        sys.stdout.write(json.dumps(measured(**json.loads(settings.work))) + "\n")
        return
    command = " ".join(["python benchmarks/growth.py", *sys.argv[1:]])
    result: dict[str, Any] = {"command": command, "repeats": settings.repeats, "processors": os.cpu_count()}
    result = environment() | result | {"threads": settings.threads}
    result |= {"curves": [curve(axis, settings) for axis in settings.axes]}
    if settings.out:
        settings.out.mkdir(parents=True, exist_ok=True)
        (settings.out / "growth.json").write_text(json.dumps(result) + "\n")
        (settings.out / "growth.md").write_text(page(result))
    sys.stdout.write(json.dumps(result) + "\n" if settings.json else page(result))


if __name__ == "__main__":
    main()
