"""The benchmark over the 62 tasks: a process for each task, several side by side, finished tasks kept."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from typing import Any

from pellucid.core.errors import ConfigError, FileFormatError, RunError
from pellucid.core.files import read_json, write_json, write_text
from pellucid.core.logging import Ticker, log
from pellucid.core.provenance import environment
from pellucid.programs.bench_page import page
from pellucid.programs.config import DistillConfig
from pellucid.programs.ensembles.config import TrainingConfig
from pellucid.programs.options import BenchOptions
from pellucid.programs.tasks.find import find_task, task_name
from pellucid.programs.tasks.registry import TASKS

INTERRUPTED = (130, -signal.SIGINT)
"""How a task's process ends after Ctrl-C."""
SUMMARY, RESULTS, PAGE = "summary.json", "results.json", "index.html"
PROGRAMS = "programs"
"""Folder with a folder for each task."""


def bench(options: BenchOptions, out: Path) -> dict[str, Any]:
    """Distil every task in a process of its own; write OUT/results.json, OUT/index.html and OUT/programs/NAME/.

    A task that is over its time, or whose process fails, counts as not solved, with the reason. Results are written after
    each task, so that a stopped run loses nothing that was finished. Seconds are those of all parts of a resumed run.
    """
    tasks = _by_name(options.tasks or tuple(TASKS))
    names = list(tasks)
    if (out / RESULTS).exists() and not options.resume:
        raise RunError(f"{out} holds results of an earlier run; give --resume to go on with it, or another --out")
    done = {name: found for name in names if (found := _finished(out / PROGRAMS / name)) is not None} if options.resume else {}
    clock = _Clock(_earlier_seconds(out) if options.resume else 0.0)
    with Ticker("tasks", len(names), unit="tasks") as ticker, ThreadPoolExecutor(options.workers) as pool:
        ticker.advance(len(done))
        running = {pool.submit(_run, tasks[name], out / PROGRAMS / name, options): name for name in names if name not in done}
        try:
            for future in as_completed(running):
                name = running[future]
                done[name] = future.result()
                log.info("%s: %s", name, "solved" if done[name]["solved"] else f"not solved, {done[name]['reason']}")
                ticker.advance(1, name)
                _write(out, names, done, options, clock)
        except KeyboardInterrupt:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    results = _write(out, names, done, options, clock)
    return {name: results[name] for name in ("solved", "seconds")} | {"tasks": len(names), "out": str(out)}


def _by_name(tasks: Sequence[str]) -> dict[str, str]:
    """Return name -> what was given; ConfigError or DataError for a task that cannot be used, before any work."""
    found: dict[str, str] = {}
    for task in tasks:
        find_task(task)
        name = task_name(task)
        if name in found:
            raise ConfigError(f"{found[name]} and {task} are both called {name}, which is also the folder of their results")
        found[name] = task
    return found


def _finished(folder: Path) -> dict[str, Any] | None:
    try:
        found = read_json(folder / SUMMARY)
    except (FileNotFoundError, FileFormatError):
        return None
    return found if isinstance(found, dict) and "solved" in found else None


def _run(task: str, folder: Path, options: BenchOptions) -> dict[str, Any]:
    """Run one task in a process of its own, on one thread; return its summary."""
    if folder.exists():
        shutil.rmtree(folder)
    command = [sys.executable, "-m", "pellucid", "distill", "--task", task, "--out", str(folder), "--json"]
    command += ["--training.seconds", str(options.training_seconds)]
    threads = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "NUMBA_NUM_THREADS": "1"}
    try:
        ended = subprocess.run(
            command, capture_output=True, text=True, timeout=options.limit, env=os.environ | threads, check=False
        )
        if ended.returncode in INTERRUPTED:  # Ctrl-C reaches this process too; what it cut short is not a result
            return {"solved": False, "reason": "was interrupted"}
        reason = _complaint(ended)
    except subprocess.TimeoutExpired:
        reason = f"did not end within {options.limit:.0f} seconds and was stopped"
    found = _finished(folder)
    if found is None:
        found = {"solved": False, "reason": reason}
        folder.mkdir(parents=True, exist_ok=True)
        write_json(folder / SUMMARY, found)
    return found


def _complaint(ended: subprocess.CompletedProcess[str]) -> str:
    try:
        return str(json.loads(ended.stdout.strip().splitlines()[-1])["error"])
    except (IndexError, ValueError, KeyError, TypeError):
        last = ended.stderr.strip().splitlines()
        return f"its process ended with status {ended.returncode}: {last[-1] if last else 'no message'}"


class _Clock:
    """Seconds since its making, and those before."""

    def __init__(self, before: float) -> None:
        self.before, self.started = before, time.monotonic()

    @property
    def seconds(self) -> float:
        return round(self.before + time.monotonic() - self.started, 1)


def _earlier_seconds(out: Path) -> float:
    try:
        found = read_json(out / RESULTS)
    except (FileNotFoundError, FileFormatError):
        return 0.0
    return float(found.get("seconds", 0.0)) if isinstance(found, dict) else 0.0


def _write(
    out: Path, names: list[str], done: dict[str, dict[str, Any]], options: BenchOptions, clock: _Clock
) -> dict[str, Any]:
    """Write results and page of what is done so far; return the results."""
    rows = [{"task": name, **done[name]} for name in names if name in done]
    results = {
        "solved": sum(bool(row["solved"]) for row in rows),
        "seconds": clock.seconds,
        "processors": os.cpu_count(),
        "provenance": environment() | {"settings": settings(options)},
        "tasks": rows,
    }
    write_json(out / RESULTS, results)
    write_text(out / PAGE, page(results, out / PROGRAMS))
    return results


def settings(options: BenchOptions) -> dict[str, Any]:
    """Return every setting that the tasks are run with, the seeds among them; the same for all."""
    training = TrainingConfig(seconds=options.training_seconds)
    return {"limit": options.limit, "workers": options.workers} | {
        "training": training.model_dump(mode="json"),
        "search": DistillConfig().model_dump(mode="json"),
    }
