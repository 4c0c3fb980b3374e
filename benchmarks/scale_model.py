"""What a fit over many ranks costs each of them: formulas, checked against two processes on this machine.

    python benchmarks/scale_model.py [--json] [--steps 8] [--cases 4096x64x2048 ...]     predicted and measured, side by side
    python benchmarks/scale_model.py --plan [--json]                                     16 M latents on 64 GPUs (docs/scale.md)

A case is LATENTSxWIDTHxTOKENS of a TopK dictionary (k = 16, local objective, stored activations). Predicted and measured:
  payload   bytes given to collective calls by a rank in a step
  wire      bytes that cross the loopback device in a step, all ranks together (others' loopback traffic counts too)
  memory    growth of a rank's peak resident memory over that of a fit of one latent-sized step
  seconds   a step: the same step by itself at the rank's shapes in both processes at once, plus latency and bytes of its
            calls at what two sizes of plain sums took
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
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

FLOAT, LONG = 4, 8
"""Bytes of a float32; of an int64 or float64."""
K = 16


@dataclass(frozen=True)
class Shape:
    """One TopK dictionary and how ranks share it."""

    mode: str
    """'data' or 'latents'."""
    latents: int
    """m, of the whole dictionary."""
    width: int
    """d."""
    tokens: int
    """n, kept positions of a step over all ranks."""
    k: int
    """Active latents a token."""
    ranks: int
    """R."""
    aux_k: int = 0
    """Dead latents in the auxiliary term; 0 while none is dead."""

    @property
    def own_latents(self) -> float:
        """Latents on one rank."""
        return self.latents / self.ranks if self.mode == "latents" else self.latents

    @property
    def own_tokens(self) -> float:
        """Tokens that one rank sees."""
        return self.tokens if self.mode == "latents" else self.tokens / self.ranks

    @property
    def parameters(self) -> float:
        """Parameters on one rank: encoder, decoder and encoder bias by latent, and the decoder bias."""
        return self.own_latents * (2 * self.width + 1) + self.width


def calls(shape: Shape) -> dict[str, list[float]]:
    """Return the payload of every collective call of a step by one rank, sums and gathers apart, in bytes."""
    n, d, m = shape.tokens, shape.width, shape.latents
    if shape.mode == "latents":
        sums = [n * d * FLOAT, LONG, d * FLOAT, LONG, 2 * LONG]  # reconstruction, dead latents, decoder bias, norm, activity
        gathers = [n * shape.k * FLOAT]  # candidates: values only, a rank knows its own indices
        if shape.aux_k:
            sums, gathers = [*sums, n * d * FLOAT], [*gathers, n * shape.aux_k * FLOAT]
        return {"sum": sums, "gather": gathers}
    # terms and loss; the four parameters; firings and ages; L0
    sums = [2 * LONG, m * d * FLOAT, m * FLOAT, m * d * FLOAT, d * FLOAT, m * LONG, m * LONG, LONG]
    if shape.aux_k:
        sums += [(d + 1) * LONG, 2 * LONG, LONG]  # mean and variance of the residual; the term
    return {"sum": sums, "gather": [LONG]}


def wire_bytes(shape: Shape) -> float:
    """Return what one rank sends in a step: rings, 2 (R - 1) / R of a sum's payload and R - 1 times a gather's."""
    found, ranks = calls(shape), shape.ranks
    return 2 * (ranks - 1) / ranks * sum(found["sum"]) + (ranks - 1) * sum(found["gather"])


def memory(shape: Shape, live_codes: float = 2.0) -> dict[str, float]:
    """Return bytes on one rank by use; `live_codes` counts the [tokens, own latents] floats alive at once."""
    n, m = shape.own_tokens, shape.own_latents
    gathered = shape.ranks if shape.mode == "latents" else 0
    return {
        "weights": FLOAT * shape.parameters,
        "gradients": FLOAT * shape.parameters,
        "moments": 2 * FLOAT * shape.parameters,
        "activations": 4 * FLOAT * n * shape.width,  # x, x - bias, reconstruction and its gradient
        "codes": live_codes * FLOAT * n * m,
        # the gathered list, its concatenation and a mask; what was kept: values, indices
        "candidates": n * max(shape.k, shape.aux_k) * (gathered * (2 * FLOAT + 1) + FLOAT + LONG),
    }


def plan() -> dict[str, Any]:
    """Return the arithmetic of 16 M latents on 64 GPUs; every number that is not arithmetic is an assumption, named so."""
    assumed = {"tflops": 200.0, "memory_gb_s": 2500.0, "link_gb_s": 40.0, "latency_s": 50e-6, "gpu_gb": 80.0}
    shape = Shape("latents", 2**24, 4096, 8192, 64, 64)
    rows = []
    for name, at, products, live in (
        ("as built: dense backward, no dead latents", shape, 3, 2.0),
        ("as built, auxiliary term with aux_k = d / 2", Shape(**{**asdict(shape), "aux_k": 2048}), 3, 2.0),
        ("as built, auxiliary term with aux_k = k", Shape(**{**asdict(shape), "aux_k": 64}), 3, 2.0),
        ("sparse backward, codes never whole", shape, 1, 0.1),
    ):
        parts = memory(at, live)
        flops = products * 2 * at.tokens * at.width * at.own_latents
        sent = wire_bytes(at)
        seconds = {
            "products": flops / (assumed["tflops"] * 1e12),
            "adam": 7 * FLOAT * at.parameters / (assumed["memory_gb_s"] * 1e9),
            "wire": sent / (assumed["link_gb_s"] * 1e9) + assumed["latency_s"] * sum(map(len, calls(at).values())),
        }
        total = sum(seconds.values())
        rows.append(
            {
                "case": name,
                "memory_gb": {use: round(size / 1e9, 2) for use, size in parts.items()},
                "memory_sum_gb": round(sum(parts.values()) / 1e9, 1),
                "sent_gb": round(sent / 1e9, 2),
                "milliseconds": {part: round(1e3 * value, 1) for part, value in seconds.items()},
                "tokens_per_second": round(at.tokens / total),
            }
        )
    data = Shape("data", 2**24, 4096, 8192, 64, 64)
    impossible = {"data_parallel_memory_gb": round(sum(memory(data).values()) / 1e9), "data_sent_gb": round(wire_bytes(data) / 1e9)}
    return {"assumed": assumed, "shape": asdict(shape), "parameters_per_gpu": shape.parameters, "rows": rows, **impossible}


# Measuring: this file starts itself once a rank.


def _peak() -> int:
    return int(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0]) * 1024


def _forget_peak() -> int:
    Path("/proc/self/clear_refs").write_text("5")
    return _peak()


def _loopback() -> int:
    return int(Path("/sys/class/net/lo/statistics/tx_bytes").read_text())


def work(shape: Shape, steps: int) -> dict[str, Any]:
    """Run one case as one rank; return what was measured."""
    import torch

    from pellucid import DictionaryConfig, FitConfig, Host, TensorData, TopKConfig
    from pellucid.core.allocator import keep_freed_memory
    from pellucid.dictionaries import make_dictionary
    from pellucid.hosts.splice import SharedPass
    from pellucid.training.distributed import Alone, joined
    from pellucid.training.learner import Learner

    torch.set_num_threads(1)
    keep_freed_memory()
    host = Host(torch.nn.Sequential(torch.nn.Identity(), torch.nn.Linear(shape.width, 2)), name="stored")
    data = TensorData(torch.randn(2 * shape.tokens, shape.width, generator=torch.Generator().manual_seed(0)))

    def config(latents: int) -> Any:
        architecture = TopKConfig(n_latents=latents, k=K)
        entry = DictionaryConfig(site="0", architecture=architecture)
        return FitConfig(dictionaries={"d": entry}, batch_rows=shape.tokens, parallel=shape.mode, rank_timeout=120)

    def learner(group: Any, latents: int) -> Any:
        fit = config(latents)
        dictionary = make_dictionary(fit.dictionaries["d"].architecture, shape.width, torch.Generator().manual_seed(0),
                                     data.train_batch(0, 64).inputs)  # fmt: skip
        return Learner("d", fit.dictionaries["d"], fit, host, dictionary, group=group)

    def seconds(trained: Any, batches: Any, wait: Any) -> list[float]:
        times = []
        for step in range(steps + 2):
            batch = batches(step)
            shared = SharedPass(host, batch.inputs, None, capture=[trained.site], features=False)
            wait()
            begun = time.perf_counter()
            trained.update(shared, None, 1e-4, step)
            times.append(time.perf_counter() - begun)
        return times[2:]

    with joined(config(shape.latents)) as group, host.held():
        wire = group.wire
        tiny = torch.zeros(1)
        rates = {size: _sum_seconds(wire, size) for size in (1, 1 << 20)}
        latency, slope = rates[1], (rates[1 << 20] - rates[1]) / (FLOAT << 20)
        small = learner(group, 2 * K)
        seconds(small, lambda step: group.batch(data, step, shape.tokens), lambda: wire.sum(tiny))
        base = _forget_peak()
        trained = learner(group, shape.latents)
        seconds(trained, lambda step: group.batch(data, step, shape.tokens), lambda: wire.sum(tiny))
        used = _peak() - base
        wire.sent.clear()
        wire.calls.clear()
        wire.sum(tiny)
        before = _loopback()
        times = seconds(trained, lambda step: group.batch(data, step, shape.tokens), lambda: wire.sum(tiny))
        wire.sum(tiny)
        crossed = (_loopback() - before) / (steps + 2)
        payload = (sum(wire.sent.values()) - FLOAT * (steps + 4)) / (steps + 2)
        own = learner(Alone(), int(shape.own_latents))
        rows = int(shape.own_tokens)
        compute = seconds(own, lambda step: data.train_batch(step, rows), lambda: wire.sum(tiny))
        return {
            "payload": payload, "wire": crossed, "memory": used, "seconds": statistics.median(times),
            "compute": statistics.median(compute), "latency": latency, "per_byte": slope,
        }  # fmt: skip


def _sum_seconds(wire: Any, numbers: int) -> float:
    import torch

    value, times = torch.zeros(numbers), []
    for _ in range(12):
        begun = time.perf_counter()
        wire.sum(value)
        times.append(time.perf_counter() - begun)
    return statistics.median(times[2:])


def measure(shape: Shape, steps: int) -> dict[str, Any]:
    """Start the ranks of one case; return predicted and measured numbers and their ratios."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port = found.getsockname()[1]
    env = {**os.environ, "OMP_NUM_THREADS": "1", "WORLD_SIZE": str(shape.ranks), "MASTER_ADDR": "127.0.0.1"}
    order = json.dumps({"shape": asdict(shape), "steps": steps})
    started = [
        subprocess.Popen(
            [sys.executable, __file__, "--work", order],
            env={**env, "MASTER_PORT": str(port), "RANK": str(rank)}, stdout=subprocess.PIPE, text=True,
        )
        for rank in range(shape.ranks)
    ]  # fmt: skip
    results = [process.communicate()[0] for process in started]
    if any(process.returncode for process in started):
        raise SystemExit(f"a rank of {shape} failed; see above")
    ranks = [json.loads(text) for text in results]
    first = ranks[0]
    predicted = {
        "payload": sum(sum(part) for part in calls(shape).values()),
        "wire": shape.ranks * wire_bytes(shape),
        "memory": sum(memory(shape, LIVE_CODES).values()),
        "seconds": first["compute"]
        + first["latency"] * sum(map(len, calls(shape).values()))
        + first["per_byte"] * wire_bytes(shape),
    }
    measured = {name: max(rank[name] for rank in ranks) for name in predicted}
    ratio = {name: round(measured[name] / predicted[name], 4) for name in predicted}
    return {"shape": asdict(shape), "predicted": predicted, "measured": measured, "measured_over_predicted": ratio,
            "calibration": {name: first[name] for name in ("compute", "latency", "per_byte")}}  # fmt: skip


LIVE_CODES = 2.0
"""[tokens, latents] tensors of floats alive at once in the eager step: the pre-activations and their gradient."""


def main() -> None:
    """Measure or plan, and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--plan", action="store_true", help="print the arithmetic of 16 M latents on 64 GPUs, measure nothing")
    parser.add_argument("--steps", type=int, default=8)
    parser.add_argument("--cases", nargs="*", default=["8192x64x2048", "16384x128x2048", "32768x128x1024"])
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
        shape = row["shape"]
        sys.stdout.write(f"{shape['mode']}, {shape['latents']} latents, width {shape['width']}, {shape['tokens']} tokens\n")
        for name, value in row["predicted"].items():
            unit, scale = ("s", 1.0) if name == "seconds" else ("MB", 1e6)
            found = f"{value / scale:10.3f} predicted {row['measured'][name] / scale:10.3f} measured"
            sys.stdout.write(f"  {name:<8} {found} {unit:<3} {row['measured_over_predicted'][name]:.3f}\n")


if __name__ == "__main__":
    main()
