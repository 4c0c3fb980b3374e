"""One contender in a process of its own, in its library's environment: JSON lines in, JSON lines out.

    python worker.py LIBRARY

{"do": "prepare", "name": ..., "threads": ..., "task": {...}} makes the dictionary, {"do": "step"} takes one training step
and says its seconds, {"do": "finish"} says peak memory and L0, {"do": "ceiling"} measures the machine, {"do": "quit"} ends.
"""

from __future__ import annotations

import importlib
import json
import os
import resource
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from task import Contender, Task


def status(field: str) -> float:
    """Return a memory field of this process (VmRSS, VmHWM) in MB of 10^6 bytes."""
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(field + ":"))
    return int(line.split()[1]) * 1024 / 1e6


def peak(device: str = "cpu") -> float:
    """Return the most memory this process held since `reset_peak`, resident or as tensors on a GPU, in MB."""
    if device.startswith("cuda"):
        return torch.cuda.max_memory_allocated(device) / 1e6
    if Path("/proc/self/status").exists():
        return status("VmHWM")
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6


def reset_peak(device: str = "cpu") -> float:
    """Start the peak afresh where the system can, and return what is held now, in MB."""
    if device.startswith("cuda"):
        torch.cuda.reset_peak_memory_stats(device)
        return torch.cuda.memory_allocated(device) / 1e6
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        return peak()
    return status("VmRSS")


def settled(device: str) -> float:
    """Return the time once the device has done all it was given."""
    if device.startswith("cuda"):
        torch.cuda.synchronize(device)
    return time.perf_counter()


def ceiling(device: str = "cpu", size: int = 2048, repeats: int = 8) -> float:
    """Return the best GFLOP/s of a square fp32 product into memory that is there already."""
    a, b, out = (torch.randn(size, size, device=device) for _ in range(3))
    seconds = []
    for _ in range(repeats):
        start = settled(device)
        torch.mm(a, b, out=out)
        seconds.append(settled(device) - start)
    return 2 * size**3 / min(seconds) / 1e9


class Worker:
    """What the parent may ask for."""

    def __init__(self, library: str) -> None:
        self.steps = importlib.import_module(f"steps_{library}")
        self.contender: Contender | None = None
        self.done, self.before, self.device = 0, 0.0, "cpu"

    def prepare(self, name: str, threads: int, task: dict[str, Any]) -> dict[str, Any]:
        """Make the contender; what it imports, compiles or caches on first use is not counted as the dictionary's."""
        wanted = Task(**task)
        if wanted.architecture not in self.steps.ARCHITECTURES[name]:
            return {"unknown": f"{name} has no {wanted.architecture}", "version": self.steps.version()}
        if wanted.device != "cpu" and not getattr(self.steps, "ANY_DEVICE", False):
            return {"unknown": f"{name} is measured on the CPU alone", "version": self.steps.version()}
        self.device = wanted.device
        torch.set_num_threads(threads)
        small = replace(wanted, latents=min(wanted.latents, 8 * wanted.k), tokens=min(wanted.tokens, 256))
        rehearsal = self.steps.make(name, small)
        for i in range(2):
            rehearsal.step(i)
        del rehearsal
        wanted.batch(0)
        self.before = reset_peak(self.device)
        self.contender = self.steps.make(name, wanted)
        return {"version": self.steps.version(), "threads": torch.get_num_threads()}

    def step(self) -> dict[str, float]:
        """Take one step."""
        assert self.contender is not None
        start = settled(self.device)
        self.contender.step(self.done)
        seconds = settled(self.device) - start
        self.done += 1
        return {"seconds": seconds}

    def finish(self) -> dict[str, float]:
        """Return the peak over what was held before the dictionary was made, then the codes' L0."""
        assert self.contender is not None
        highest = peak(self.device) - self.before
        return {"peak_mb": highest, "l0": self.contender.l0()}

    def ceiling(self) -> dict[str, float]:
        """Return the machine's measured GFLOP/s."""
        return {"gflops": ceiling(self.device)}


def main() -> None:
    """Answer until told to quit; whatever the libraries print goes to stderr."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    worker = Worker(sys.argv[1])
    for line in sys.stdin:
        asked = json.loads(line)
        what = asked.pop("do")
        if what == "quit":
            break
        try:
            answer = getattr(worker, what)(**asked)
        except Exception as error:  # noqa: BLE001 - said by the parent, which goes on without this contender
            answer = {"failed": f"{type(error).__name__}: {str(error)[:300]}"}
        answers.write(json.dumps(answer) + "\n")
        answers.flush()
    os._exit(0)  # a library's thread may still wait for its next batch


if __name__ == "__main__":
    main()
