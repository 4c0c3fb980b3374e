"""What one end-to-end training step costs, as a multiple of a plain forward of the host.

    python benchmarks/e2e_step.py [--json] [--repeats 5]

Each contender does one whole update of a dictionary (TopK, k = 32, 4 d latents; with --relu ReLU, 8 d latents) at the
output of block n/2: pellucid's e2e and e2e+ds, and the plain procedure (a hook, two full forwards with full logits, KL and
autograd), on SmolLM2 and on a 12-block Llama with d = 256 and 8,192 classes. All run in turn in one process; medians over
the turns, and the ratio turn by turn.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable
from typing import Any

import torch
from end_to_end import CONTEXT, HOSTS, ROWS, plain, rows_at, token_ids
from torch import Tensor

from pellucid import DictionaryConfig, EndToEnd, EndToEndDownstream, FitConfig, Host, ReluConfig, TopKConfig
from pellucid.core.allocator import keep_freed_memory
from pellucid.core.provenance import environment
from pellucid.dictionaries import make_dictionary
from pellucid.hosts.splice import SharedPass
from pellucid.kernels.divergence import Teacher
from pellucid.training.kernels import settle
from pellucid.training.learner import Learner


def contenders(host: Host, inputs: dict[str, Tensor], relu: bool) -> dict[str, Callable[[], object]]:
    """Return one whole step of each contender, ready to be called again and again."""
    site = host.site(f"layers.{len(host.blocks) // 2}")
    with torch.no_grad():
        sample = rows_at(host, inputs, site)
    host.prepare({"input_ids": inputs["input_ids"][:1]}, [site])
    head = host.find_head({"input_ids": inputs["input_ids"][:1]})
    width = sample.shape[-1]
    architecture = ReluConfig(n_latents=8 * width) if relu else TopKConfig(n_latents=4 * width, k=32)

    def ours(objective: Any) -> Callable[[], None]:
        config = DictionaryConfig(site=str(site), architecture=architecture, objective=objective)
        fit = FitConfig(dictionaries={"d": config})
        dictionary = make_dictionary(config.architecture, width, torch.Generator().manual_seed(0), sample)
        learner = Learner("d", config, fit, host, dictionary)
        settle([learner], len(sample), "auto", {})  # as `fit` does

        def step() -> None:
            shared = SharedPass(host, inputs, None, splice=[site], capture=learner.downstream, head=head)
            assert shared.features is not None
            learner.update(shared, Teacher(shared.readout, shared.features), 1e-4, 0)

        return step

    def forward() -> None:
        with torch.no_grad():
            host.module(**inputs)

    by_hand = plain(host, len(host.blocks) // 2, sample, architecture)

    return {
        "forward": forward,
        "e2e": ours(EndToEnd()),
        "e2e+ds": ours(EndToEndDownstream()),
        "plain": lambda: by_hand(inputs),
    }


def measure(host: Host, repeats: int, relu: bool) -> dict[str, Any]:
    """Return median seconds of each contender and the median over turns of its ratio to the forward of that turn."""
    inputs = {"input_ids": token_ids(host, ROWS)}
    seconds: dict[str, list[float]] = {}
    with host.held():
        steps = contenders(host, inputs, relu)
        for turn in range(repeats + 1):
            for name, step in steps.items():
                start = time.perf_counter()
                step()
                if turn:  # the first turn warms caches and the allocator
                    seconds.setdefault(name, []).append(time.perf_counter() - start)
    rows = [
        {
            "contender": name,
            "seconds": statistics.median(times),
            "x_forward": statistics.median(t / f for t, f in zip(times, seconds["forward"], strict=True)),
            "x_forward_range": [round(f(t / b for t, b in zip(times, seconds["forward"], strict=True)), 3) for f in (min, max)],
        }
        for name, times in seconds.items()
    ]
    return {"host": host.name, "tokens": ROWS * CONTEXT, "rows": rows}


def main() -> None:
    """Measure both hosts and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--relu", action="store_true", help="a ReLU dictionary with 8 d latents")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--hosts", nargs="*", choices=HOSTS, default=["smollm2", "llama-12x256"])
    arguments = parser.parse_args()
    keep_freed_memory()
    results = [measure(HOSTS[name](), arguments.repeats, arguments.relu) for name in arguments.hosts]
    if arguments.json:
        sys.stdout.write(json.dumps({"hosts": results, **environment()}) + "\n")
        return
    for result in results:
        sys.stdout.write(f"{result['host']}, {result['tokens']} tokens a step\n")
        for row in result["rows"]:
            low, high = row["x_forward_range"]
            sys.stdout.write(
                f"  {row['contender']:<8} {row['seconds']:.3f} s  {row['x_forward']:.2f} x forward ({low}..{high})\n"
            )


if __name__ == "__main__":
    main()
