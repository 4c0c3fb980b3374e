"""What one training step of a dictionary costs, as a multiple of the encoder product that cannot be avoided.

    make peers
    python benchmarks/dictionary_step.py [--latents 4608 9216 18432] [--architectures topk] [--no-peers] [--repeats 7]
        [--device cuda] [--json]

One step: batch 4,096, d = 576, fp32, k = 32 (JumpReLU and ReLU start at a mean L0 of 32), with each library's own class,
loss, optimizer and upkeep, no dead latents. Contenders:

    product               batch @ W.T into memory that is there already: the floor
    product_fresh         the same into a new tensor each time
    plain                 dense PyTorch with autograd and Adam
    pellucid              one Learner.update
    sparsify              one turn of Trainer.fit
    sae_lens              SAETrainer.step with defaults
    sae_lens_sparse       with use_sparse_activations, and without rescale_acts_by_decoder_norm (PyTorch cannot do both)
    dictionary_learning   the trainer's update

Each contender is a process in its library's environment, and one computes at a time. A turn asks each in order: floor, then
contender. `seconds` is the median over turns; `x_floor` the median over turns of the contender's time over the floor's just
before it; `peak_mb` the most memory its process held over what it held before the dictionary was made. What cannot run is
listed under `skipped` with the reason.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import time
from contextlib import ExitStack
from typing import Any

import torch
from peers.client import PEERS, Missing, Worker

from pellucid.core.provenance import environment

ARCHITECTURES = ("topk", "batch_topk", "jumprelu", "relu")
CONTENDERS = ("product_fresh", "plain", "pellucid", *PEERS)
FLOOR = "product"
REST = 0.02
"""Seconds between two processes' turns, in which the threads of the first stop spinning."""


def x_floor(seconds: list[float], floors: list[float]) -> float:
    """Return the median over turns of a contender's time over the floor's in the same turn."""
    return statistics.median(mine / floor for mine, floor in zip(seconds, floors, strict=True))


def main() -> None:
    """Measure and print."""
    arguments = parsed()
    contenders = arguments.contenders or [name for name in CONTENDERS if not (arguments.no_peers and name in PEERS)]
    result: dict[str, Any] = {"rows": [], "skipped": [], "peer_versions": {}}
    for architecture in arguments.architectures:
        for latents in arguments.latents:
            measure(arguments, architecture, latents, contenders, result)
    result |= {"batch": arguments.batch, "width": arguments.width, "k": arguments.k, "repeats": arguments.repeats}
    on_gpu = arguments.device.startswith("cuda")
    result |= {"device": torch.cuda.get_device_name(arguments.device) if on_gpu else arguments.device}
    result |= {"processors": os.cpu_count(), **environment(), "threads": arguments.threads}
    if arguments.json:
        print(json.dumps(result))
    else:
        print(table(result))


def parsed() -> argparse.Namespace:
    """Return the command line's settings."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--latents", type=int, nargs="+", default=[4608, 9216, 18432])
    parser.add_argument("--architectures", nargs="+", choices=ARCHITECTURES, default=["topk"])
    parser.add_argument("--contenders", nargs="+", choices=CONTENDERS, help="only these")
    parser.add_argument("--no-peers", action="store_true", help="only what runs in this environment")
    parser.add_argument("--repeats", type=int, default=7, help="measured turns")
    parser.add_argument("--warmup", type=int, default=2, help="turns before them")
    parser.add_argument("--batch", type=int, default=4096)
    parser.add_argument("--width", type=int, default=576)
    parser.add_argument("--k", type=int, default=32)
    parser.add_argument("--threads", type=int, default=os.cpu_count(), help="of every contender")
    parser.add_argument(
        "--device", default="cpu", help="of our own contenders: cpu, cuda or cuda:N; peers run on the cpu alone"
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    arguments = parser.parse_args()
    too_small = [name for name in ("repeats", "batch", "width", "k", "threads") if getattr(arguments, name) < 1]
    if too_small or min(arguments.latents) < arguments.k or arguments.warmup < 0:
        parser.error(
            f"{', '.join(too_small) or 'latents'} must be at least 1, every --latents at least --k, --warmup 0 or more"
        )
    if not arguments.device.startswith("cpu") and not torch.cuda.is_available():
        parser.error(f"--device {arguments.device}: PyTorch {torch.__version__} finds no GPU; use --device cpu")
    return arguments


def measure(
    settings: argparse.Namespace, architecture: str, latents: int, contenders: list[str], result: dict[str, Any]
) -> None:
    """Add the rows of one architecture and size to the result, and what could not run."""
    shape = {"tokens": settings.batch, "width": settings.width, "k": settings.k, "device": settings.device}
    task = {"architecture": architecture, "latents": latents, **shape}
    where = {"architecture": architecture, "latents": latents}
    with ExitStack() as stack:
        floor = stack.enter_context(Worker(FLOOR, settings.threads, task))
        workers: dict[str, Worker] = {}
        for name in contenders:
            try:
                workers[name] = stack.enter_context(Worker(name, settings.threads, task))
                result["peer_versions"][name] = workers[name].prepared["version"]
            except Missing as reason:
                skip(result, name, where, reason)
        times: dict[str, list[float]] = {name: [] for name in workers}
        floors: dict[str, list[float]] = {name: [] for name in workers}
        alone: list[float] = []
        for turn in range(settings.warmup + settings.repeats):
            alone.append(timed(floor))  # also where no contender runs
            for name in list(workers):
                try:
                    pair = timed(floor), timed(workers[name])
                except Missing as reason:
                    skip(result, name, where, reason)
                    del workers[name]
                    continue
                if turn >= settings.warmup:
                    floors[name].append(pair[0])
                    times[name].append(pair[1])
        every = [seconds for name in workers for seconds in floors[name]] or alone[settings.warmup :]
        result["rows"].append({"contender": FLOOR, **where, **row(floor, every, every)})
        for name, worker in workers.items():
            result["rows"].append({"contender": name, **where, **row(worker, times[name], floors[name])})
        result["ceiling_gflops"] = max(floor.ask("ceiling")["gflops"], result.get("ceiling_gflops", 0.0))


def timed(worker: Worker) -> float:
    """Return the seconds of a worker's next step."""
    time.sleep(REST)
    return float(worker.ask("step")["seconds"])


def row(worker: Worker, seconds: list[float], floors: list[float]) -> dict[str, Any]:
    """Return a contender's figures."""
    ended = worker.ask("finish")
    ratios = sorted(mine / floor for mine, floor in zip(seconds, floors, strict=True))
    return {
        "seconds": statistics.median(seconds),
        "x_floor": x_floor(seconds, floors),
        "x_floor_range": [ratios[0], ratios[-1]],
        "peak_mb": ended["peak_mb"],
        "l0": None if ended["l0"] != ended["l0"] else ended["l0"],
    }


def skip(result: dict[str, Any], name: str, where: dict[str, Any], reason: Missing) -> None:
    """Note what does not run, and say so."""
    result["skipped"].append({"contender": name, **where, "reason": str(reason)})
    print(f"skipped at {where['architecture']}, {where['latents']} latents: {reason}", file=sys.stderr)


def table(result: dict[str, Any]) -> str:
    """Return the rows as text."""
    lines = [f"{result['ceiling_gflops']:.0f} GFLOP/s fp32, {result['threads']} threads, {result['versions']['torch']}"]
    for line in result["rows"]:
        low, high = line["x_floor_range"]
        l0 = "" if line["l0"] is None else f"  L0 {line['l0']:.1f}"
        lines.append(
            f"{line['architecture']:<10} {line['latents']:>6}  {line['contender']:<19} {line['seconds']:.3f} s  "
            f"{line['x_floor']:6.2f} x floor ({low:.2f}..{high:.2f})  {line['peak_mb']:6.0f} MB{l0}"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    main()
