"""The benchmark over the 62 tasks: a process for each task, several side by side, finished tasks kept."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from typing import Any

from pellucid.core.errors import FileFormatError, RunError
from pellucid.core.files import read_json, write_json, write_text
from pellucid.core.logging import Ticker, log
from pellucid.programs.bench_page import page
from pellucid.programs.options import BenchOptions
from pellucid.programs.tasks.registry import TASKS, named_task

SUMMARY, RESULTS, PAGE = "summary.json", "results.json", "index.html"


def bench(options: BenchOptions, out: Path) -> dict[str, Any]:
    """Distil every task in a process of its own; write OUT/results.json, OUT/index.html and OUT/tasks/NAME/.

    A task that is over its time, or whose process fails, counts as not solved, with the reason. Results are written after
    each task, so that a stopped run loses nothing that was finished.
    """
    names = list(options.tasks) or list(TASKS)
    for name in names:
        named_task(name)
    if (out / RESULTS).exists() and not options.resume:
        raise RunError(f"{out} holds results of an earlier run; give --resume to go on with it, or another --out")
    done = {name: found for name in names if (found := _finished(out / "tasks" / name)) is not None} if options.resume else {}
    started = time.monotonic()
    with Ticker("tasks", len(names), unit="tasks") as ticker, ThreadPoolExecutor(options.workers) as pool:
        ticker.advance(len(done))
        running = {pool.submit(_run, name, out / "tasks" / name, options): name for name in names if name not in done}
        try:
            for future in as_completed(running):
                name = running[future]
                done[name] = future.result()
                log.info("%s: %s", name, "solved" if done[name]["solved"] else f"not solved, {done[name]['reason']}")
                ticker.advance(1, name)
                _write(out, names, done)
        except KeyboardInterrupt:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    _write(out, names, done)
    solved = [name for name in names if done[name]["solved"]]
    return {"solved": len(solved), "tasks": len(names), "seconds": round(time.monotonic() - started, 1), "out": str(out)}


def _finished(folder: Path) -> dict[str, Any] | None:
    try:
        found = read_json(folder / SUMMARY)
    except (FileNotFoundError, FileFormatError):
        return None
    return found if isinstance(found, dict) and "solved" in found else None


def _run(name: str, folder: Path, options: BenchOptions) -> dict[str, Any]:
    """Run one task in a process of its own, on one thread; return its summary."""
    if folder.exists():
        shutil.rmtree(folder)
    command = [sys.executable, "-m", "pellucid", "distill", "--task", name, "--out", str(folder), "--json"]
    command += ["--training.seconds", str(options.training_seconds)]
    threads = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "NUMBA_NUM_THREADS": "1"}
    try:
        ended = subprocess.run(
            command, capture_output=True, text=True, timeout=options.limit, env=os.environ | threads, check=False
        )
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


def _write(out: Path, names: list[str], done: dict[str, dict[str, Any]]) -> None:
    rows = [{"task": name, **done[name]} for name in names if name in done]
    write_json(out / RESULTS, {"solved": sum(bool(row["solved"]) for row in rows), "tasks": rows})
    write_text(out / PAGE, page(rows, out / "tasks"))
