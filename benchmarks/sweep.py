"""What many dictionaries in one pass over the host cost, beside their parts and beside the plain procedure.

    python benchmarks/sweep.py [--cases local e2e stored batched] [--hosts smollm2] [--repeats 5] [--json]

Everything is timed in one process, turn by turn; figures are medians over turns of ratios within a turn. TopK, 4 d latents, k
of 16, 32 and 64 by turns, a seed each; batches of 8 rows of 128 random tokens; sites of 30 blocks, the same share of the way
up in other hosts. Cases:

    local    eight dictionaries at block 14. `x_parts`: one pass of all over (host alone + each one's own update alone)
    e2e      six end-to-end dictionaries at block 20. `x_plain`: dictionary-tokens/s over those of the plain procedure (hook,
             two full forwards with full logits, KL, autograd, Adam), which trains one of the six a turn
    stored   the same at block 26, prefixes and features read from a store that was filled before
    batched  equal shapes of `--shapes`: a TopK step of eight as one stacked problem beside one after the other, no host

`loss_difference`: largest relative difference of the first loss from the plain procedure's, which starts from the same weights.
`speedup` of batched: time one after the other over time as one; `difference`: largest relative difference of the weights
after the last turn, all dictionaries having taken the same steps both ways.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from batched import SHAPES, shapes_side_by_side
from end_to_end import CONTEXT, HOSTS, ROWS, plain, token_ids

from pellucid import DictionaryConfig, EndToEnd, FitConfig, Host, Local, TensorData, TopKConfig
from pellucid.core.allocator import keep_freed_memory
from pellucid.core.provenance import environment
from pellucid.data.store import StoreConfig
from pellucid.kernels.divergence import Teacher
from pellucid.training.kernels import settle
from pellucid.training.trainer import Trainer

CASES = {"local": (14, 8), "e2e": (20, 6), "stored": (26, 6)}
"""Block of 30 and number of dictionaries."""
ACTIVE = (16, 32, 64)
MIDDLE = 1
"""The dictionary that the plain procedure trains beside the sweep, k = 32."""
RATE = 1e-4


class Sweep:
    """The dictionaries of a case in one fit, step by step."""

    def __init__(self, host: Host, case: str, steps: int, store: Path | None = None) -> None:
        block, count = CASES[case]
        self.block = block * len(host.blocks) // 30
        objective = Local() if case == "local" else EndToEnd()
        width = int(host.module.config.hidden_size)  # type: ignore[union-attr, arg-type]
        dictionaries = {
            f"d{i}": DictionaryConfig(
                site=f"layers.{self.block}",
                architecture=TopKConfig(n_latents=4 * width, k=ACTIVE[i % len(ACTIVE)]),
                objective=objective,
                seed=i,
            )
            for i in range(count)
        }
        self.config = FitConfig(
            dictionaries=dictionaries,
            batch_rows=ROWS,
            tokens=steps * ROWS * CONTEXT,
            store=StoreConfig(folder=str(store) if store else None),
        )
        self.data = TensorData({"input_ids": token_ids(host, steps * ROWS)}, held_out=0.0)
        self.trainer = Trainer(self.config, Path("not-written"), host, self.data)
        settle(self.trainer.learners, ROWS * CONTEXT, "auto", {})  # as `fit` does

    def one_pass(self, step: int) -> list[float]:
        """Train every dictionary on a batch; return their losses."""
        shared = self.trainer.passes.at(step)
        spliced = self.trainer.spliced
        teacher = Teacher(shared.readout, shared.features, shared=True) if spliced and shared.features is not None else None
        return [learner.update(shared, teacher, RATE, step)["loss"] for learner in self.trainer.learners]

    def close(self) -> None:
        """Let go of a store."""
        self.trainer.passes.close(finished=True)


def timed(work: Callable[[], Any]) -> tuple[float, Any]:
    """Return the seconds some work takes, and what it returns."""
    start = time.perf_counter()
    found = work()
    return time.perf_counter() - start, found


def spread(values: Sequence[float]) -> dict[str, Any]:
    """Return the median of some ratios, and their least and largest."""
    return {"median": statistics.median(values), "range": [min(values), max(values)]}


def local(host: Host, repeats: int) -> dict[str, Any]:
    """Measure eight dictionaries on one site beside their parts."""
    sweep = Sweep(host, "local", repeats + 1)
    turns = []
    for turn in range(repeats + 1):
        alone, shared = timed(lambda turn=turn: sweep.trainer.passes.at(turn))
        own = [
            timed(lambda learner=learner, shared=shared, turn=turn: learner.update(shared, None, RATE, turn))[0]
            for learner in sweep.trainer.learners
        ]
        together, _ = timed(lambda turn=turn: sweep.one_pass(turn))
        turns.append((alone, sum(own), together))
    turns = turns[1:]  # the first warms caches and the allocator
    ratios = spread([together / (alone + own) for alone, own, together in turns])
    medians = [statistics.median(column) for column in zip(*turns, strict=True)]
    names = ("host_seconds", "own_seconds", "pass_seconds")
    row = {"case": "local", "block": sweep.block, "dictionaries": len(sweep.trainer.learners)}
    return {**row, **dict(zip(names, medians, strict=True)), "x_parts": ratios["median"], "x_parts_range": ratios["range"]}


def end_to_end(host: Host, case: str, repeats: int) -> dict[str, Any]:
    """Measure six end-to-end dictionaries beside the plain procedure, with a filled store or without one."""
    with tempfile.TemporaryDirectory() as folder:
        store = Path(folder) if case == "stored" else None
        if store is not None:
            filling = Sweep(host, case, repeats + 1, store)
            filling.trainer.passes.at(repeats)
            filling.close()
        sweep = Sweep(host, case, repeats + 1, store)
        try:
            return {"case": case, "block": sweep.block, **beside_plain(sweep, host, repeats)}
        finally:
            sweep.close()


def beside_plain(sweep: Sweep, host: Host, repeats: int) -> dict[str, Any]:
    """Return what a sweep costs and what the plain procedure does, which trains one dictionary of the sweep beside it."""
    names = list(sweep.config.dictionaries)
    site = host.site(sweep.config.dictionaries[names[0]].site)
    sample = sweep.trainer.passes.samples([site])[site]
    config = sweep.config.dictionaries[names[MIDDLE]]
    by_hand = plain(host, sweep.block, sample, config.architecture, seed=config.seed, lr=RATE)
    turns, losses = [], []
    for turn in range(repeats + 1):
        inputs = sweep.data.train_batch(turn, ROWS).inputs
        alone, loss = timed(lambda inputs=inputs: by_hand(inputs))
        together, all_losses = timed(lambda turn=turn: sweep.one_pass(turn))
        turns.append((alone, together))
        losses.append((loss, all_losses[MIDDLE]))
    turns = turns[1:]  # the first warms caches and the allocator
    ratios = spread([len(names) * alone / together for alone, together in turns])
    alone, together = (statistics.median(column) for column in zip(*turns, strict=True))
    tokens = ROWS * CONTEXT
    return {
        "dictionaries": len(names),
        "plain_seconds": alone,
        "pass_seconds": together,
        "plain_dictionary_tokens_per_second": tokens / alone,
        "dictionary_tokens_per_second": len(names) * tokens / together,
        "x_plain": ratios["median"],
        "x_plain_range": ratios["range"],
        "loss_difference": abs(losses[0][1] / losses[0][0] - 1),
    }


def measure(settings: argparse.Namespace) -> dict[str, Any]:
    """Return everything asked for."""
    result: dict[str, Any] = {"tokens": ROWS * CONTEXT, "hosts": []}
    for name in settings.hosts if set(settings.cases) - {"batched"} else []:
        host, rows = HOSTS[name](), []
        with host.held():
            if "local" in settings.cases:
                rows.append(local(host, settings.repeats))
            rows += [end_to_end(host, case, settings.repeats) for case in ("e2e", "stored") if case in settings.cases]
        result["hosts"].append({"host": host.name, "rows": rows})
    if "batched" in settings.cases:
        result["batched"] = shapes_side_by_side(settings.shapes, settings.repeats)
    return result


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--cases", nargs="+", choices=[*CASES, "batched"], default=[*CASES, "batched"])
    parser.add_argument("--hosts", nargs="+", choices=HOSTS, default=["smollm2"])
    parser.add_argument("--shapes", nargs="+", default=SHAPES, help="LATENTSxWIDTHxTOKENSxK of batched")
    parser.add_argument("--repeats", type=int, default=5, help="measured turns")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    settings = parser.parse_args()
    if min(settings.repeats, settings.threads) < 1:
        parser.error("--repeats and --threads must be at least 1")
    torch.set_num_threads(settings.threads)
    keep_freed_memory()
    result = measure(settings)
    result |= {"repeats": settings.repeats, "processors": os.cpu_count(), **environment()}
    sys.stdout.write((json.dumps(result) if settings.json else table(result)) + "\n")


def table(result: dict[str, Any]) -> str:
    """Return the rows as text."""
    lines = []
    for entry in result["hosts"]:
        lines.append(f"{entry['host']}, {result['tokens']} tokens a step, {result['threads']} threads")
        for row in entry["rows"]:
            name = "x_parts" if row["case"] == "local" else "x_plain"
            low, high = row[f"{name}_range"]
            lines.append(
                f"  {row['case']:<7} {row['dictionaries']} at block {row['block']}: {row['pass_seconds']:.3f} s a pass, "
                f"{row[name]:.3f} {name} ({low:.3f}..{high:.3f})"
            )
    for row in result.get("batched", []):
        low, high = row["speedup_range"]
        lines.append(
            f"  batched {row['shape']:<16} {1e3 * row['separate_seconds']:8.2f} ms apart, {1e3 * row['stacked_seconds']:8.2f} "
            f"ms as one, speedup {row['speedup']:.2f} ({low:.2f}..{high:.2f}), difference {row['difference']:.1e}"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    main()
