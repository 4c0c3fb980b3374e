"""What a fit over many ranks costs each of them: formulas, checked against two processes on this machine.

    python benchmarks/scale_model.py [--json] [--steps 8] [--cases 4096x64x2048 ...]     predicted and measured, side by side
    python benchmarks/scale_model.py --plan [--json]                                     16 M latents on 64 GPUs (docs/scale.md)

A case is LATENTSxWIDTHxTOKENS of a TopK dictionary (k = 16, local objective, activations at hand). Predicted and measured:
  payload   bytes given to collective calls by a rank in a step
  wire      bytes that cross the loopback device in a step, all ranks together (others' loopback traffic counts too)
  state     bytes of a rank's weights and Adam moments: what is kept from step to step
  peak      growth of a rank's peak resident memory; predicted from a process by itself at the rank's shapes, plus the
            candidates of all ranks
  seconds   a step; predicted from processes by themselves at the rank's shapes, as many at once, plus latency and bytes of
            the rank's calls at what two sizes of plain sums took
`live codes` is the peak by itself, less state, gradients and activations, in [tokens, latents] tensors of floats: what the
plan takes for the step as it is built.
"""

from __future__ import annotations

import argparse
import json
import os
import socket
import statistics
import subprocess
import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

from resident import forget_peak, peak
from scale_formulas import FLOAT, Shape, calls, candidates, memory, plan, wire_bytes

K = 16
"""Active latents a token in the small cases."""


# Measuring: this file starts itself once a rank.


def _loopback() -> int:
    devices = Path("/proc/self/net/dev").read_text().splitlines()  # of this process's own network
    (counts,) = [line.split(":")[1].split() for line in devices if line.strip().startswith("lo:")]
    return int(counts[8])  # bytes sent


def work(shape: Shape, steps: int) -> dict[str, Any]:
    """Run one case as one rank, or as a process by itself; return what was measured."""
    import torch

    from pellucid import DictionaryConfig, FitConfig, Host, TensorData, TopKConfig
    from pellucid.core.allocator import keep_freed_memory
    from pellucid.dictionaries import make_dictionary
    from pellucid.hosts.splice import SharedPass
    from pellucid.training.distributed import joined
    from pellucid.training.learner import Learner

    torch.set_num_threads(1)
    keep_freed_memory()
    host = Host(torch.nn.Sequential(torch.nn.Identity(), torch.nn.Linear(shape.width, 2)), name="stored")
    data = TensorData(torch.randn(2 * shape.tokens, shape.width, generator=torch.Generator().manual_seed(0)))

    def fit(latents: int) -> Any:
        entry = DictionaryConfig(site="0", architecture=TopKConfig(n_latents=latents, k=shape.k))
        return FitConfig(dictionaries={"d": entry}, batch_rows=shape.tokens, parallel=shape.mode, rank_timeout=120)

    def learner(config: Any) -> Any:
        entry, sample = config.dictionaries["d"], data.train_batch(0, 64).inputs
        dictionary = make_dictionary(entry.architecture, shape.width, torch.Generator().manual_seed(0), sample)
        return Learner("d", entry, config, host, dictionary, group=group)

    def seconds(trained: Any) -> list[float]:
        times = []
        for step in range(steps):
            batch = group.batch(data, step, shape.tokens)
            shared = SharedPass(host, batch.inputs, None, capture=[trained.site], features=False)
            if wire is not None:
                wire.sum(tiny)  # start together
            begun = time.perf_counter()
            trained.update(shared, None, 1e-4, step)
            times.append(time.perf_counter() - begun)
        return times

    tiny = torch.zeros(1)
    with joined(fit(shape.latents)) as group, host.held():
        wire = getattr(group, "wire", None)
        seconds(learner(fit(2 * K)))  # what the first steps of a process load and allocate
        base = forget_peak()
        trained = learner(fit(shape.latents))
        seconds(trained)
        found: dict[str, Any] = {"peak": peak() - base, "state": _state(trained)}
        before = _loopback()
        if wire is not None:
            found |= {"latency": _sum_seconds(wire, 1), "per_byte": _sum_seconds(wire, 1 << 20) / (FLOAT << 20)}
            wire.sent.clear()
            before = _loopback()
        found["seconds"] = statistics.median(seconds(trained))
        if wire is not None:
            found["payload"] = sum(wire.sent.values()) / steps - FLOAT
            wire.sum(tiny)
            found["wire"] = (_loopback() - before) / steps
        return found


def _state(trained: Any) -> int:
    """Bytes of a learner's weights and moments, as they lie in memory."""
    moments = [value for slots in trained.optimizer.state.values() for value in slots.values() if value.ndim]
    return sum(value.untyped_storage().nbytes() for value in [*trained.dictionary.parameters(), *moments])


def _sum_seconds(wire: Any, numbers: int) -> float:
    import torch

    value, times = torch.zeros(numbers), []
    for _ in range(12):
        begun = time.perf_counter()
        wire.sum(value)
        times.append(time.perf_counter() - begun)
    return statistics.median(times[2:])


def _started(shape: Shape, steps: int, joined: bool) -> list[dict[str, Any]]:
    """Run a case in as many processes as it has ranks, joined or each by itself at a rank's shapes."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        ports = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(found.getsockname()[1]), "WORLD_SIZE": str(shape.ranks)}
    own = Shape(shape.mode, int(shape.own_latents), shape.width, int(shape.own_tokens), shape.k, 1)
    order = json.dumps({"shape": asdict(shape if joined else own), "steps": steps})
    processes = []
    for rank in range(shape.ranks):
        env = os.environ | {"OMP_NUM_THREADS": "1"} | (ports | {"RANK": str(rank)} if joined else {})
        command = [sys.executable, __file__, "--work", order]
        processes.append(subprocess.Popen(command, env=env, stdout=subprocess.PIPE, text=True))
    answers = [process.communicate()[0] for process in processes]
    if any(process.returncode for process in processes):
        raise SystemExit(f"a process of {shape} failed; see above")
    return [json.loads(answer) for answer in answers]


def measure(shape: Shape, steps: int) -> dict[str, Any]:
    """Run one case; return predicted and measured numbers and their ratios."""
    apart, ranks = _started(shape, steps, joined=False), _started(shape, steps, joined=True)
    alone = {name: max(entry[name] for entry in apart) for name in apart[0]}
    measured = {name: max(entry[name] for entry in ranks) for name in ranks[0]}
    sums = sum(map(len, calls(shape).values()))
    predicted = {
        "payload": sum(sum(part) for part in calls(shape).values()),
        "wire": shape.ranks * wire_bytes(shape),
        "state": 3 * FLOAT * shape.parameters,
        "peak": alone["peak"] + candidates(shape),
        "seconds": alone["seconds"] + measured["latency"] * sums + measured["per_byte"] * wire_bytes(shape),
    }
    ratio = {name: round(measured[name] / predicted[name], 4) for name in predicted}
    parts = memory(shape, 1.0)
    live = (alone["peak"] - predicted["state"] - parts["gradients"] - parts["activations"]) / parts["codes"]
    return {"shape": asdict(shape), "predicted": predicted, "measured": {name: measured[name] for name in predicted},
            "measured_over_predicted": ratio, "live_codes": round(live, 2), "alone_seconds": alone["seconds"],
            "latency": measured["latency"], "per_byte": measured["per_byte"]}  # fmt: skip


def main() -> None:
    """Measure or plan, and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--plan", action="store_true", help="print the arithmetic of 16 M latents on 64 GPUs, measure nothing")
    parser.add_argument("--steps", type=int, default=4)
    parser.add_argument("--cases", nargs="*", default=["4096x64x1024", "8192x128x512"])
    parser.add_argument("--work", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.work:
        order = json.loads(arguments.work)
        sys.stdout.write(json.dumps(work(Shape(**order["shape"]), order["steps"])) + "\n")
        return
    if arguments.plan:
        sys.stdout.write(json.dumps(plan(), indent=None if arguments.json else 2) + "\n")
        return
    sizes = [tuple(int(part) for part in case.split("x")) for case in arguments.cases]
    shapes = [Shape(mode, m, d, n, K, 2) for m, d, n in sizes for mode in ("data", "latents")]
    rows = [measure(shape, arguments.steps) for shape in shapes]
    if arguments.json:
        sys.stdout.write(json.dumps({"rows": rows}) + "\n")
        return
    for row in rows:
        size = "{mode}, {latents} latents, width {width}, {tokens} tokens".format(**row["shape"])
        sys.stdout.write(f"{size}; live codes {row['live_codes']}\n")
        for name, value in row["predicted"].items():
            unit, scale = ("s", 1.0) if name == "seconds" else ("MB", 1e6)
            found = f"{value / scale:10.3f} predicted {row['measured'][name] / scale:10.3f} measured"
            sys.stdout.write(f"  {name:<8} {found} {unit:<3} {row['measured_over_predicted'][name]:.3f}\n")


if __name__ == "__main__":
    main()
