"""The benchmark: a cell for each architecture and bed, several side by side, finished cells kept."""

from __future__ import annotations

import multiprocessing
import time
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path
from typing import Any

import torch

from pellucid.core.config import digest, narrowed
from pellucid.core.errors import ConfigError, RunError, did_you_mean, raise_all
from pellucid.core.files import read_json, write_json, write_text
from pellucid.core.logging import Ticker, log
from pellucid.core.provenance import environment
from pellucid.dictionaries import ARCHITECTURES
from pellucid.evaluation.bench.beds import BEDS, HOST, make_bed
from pellucid.evaluation.bench.budgets import budget
from pellucid.evaluation.bench.cell import run_cell
from pellucid.evaluation.bench.excluded import excluded
from pellucid.evaluation.bench.options import DictionaryBenchOptions
from pellucid.evaluation.bench.page import html, markdown
from pellucid.evaluation.bench.summary import summarise

PLAN, RESULTS, PAGE, TEXT = "plan.json", "results.json", "index.html", "results.md"
CELL = "cell.json"


def bench_dictionaries(options: DictionaryBenchOptions, out: Path) -> dict[str, Any]:
    """Train and score every architecture on every bed; write OUT/results.json, OUT/index.html and OUT/results.md.

    The same command goes on where it was stopped: finished cells are kept in OUT/cells, and a cell that was stopped goes on
    with its checkpoint. Raises ConfigError for unknown names, RunError if OUT holds a benchmark with other settings.
    """
    options = narrowed(DictionaryBenchOptions, options)
    kinds, beds = _checked(options)
    _claim(options, out)
    cells = _cells(kinds, beds, options)
    waiting = [cell for cell in cells if not (out / "cells" / cell[0] / cell[1] / CELL).exists()]
    began, seconds = time.monotonic(), 0.0
    with Ticker("cells", len(cells), unit="cells") as ticker:
        ticker.advance(len(cells) - len(waiting))
        for name, cell_seconds in _run(waiting, options, out):
            seconds += cell_seconds
            ticker.advance(1, name)
            write_results(options, out)
    found = write_results(options, out)
    spent = {"seconds": round(time.monotonic() - began, 1), "cpu_seconds": round(seconds, 1)}
    return {"cells": len(cells), "failed": len(found["failed"]), "out": str(out), **spent}


def write_results(options: DictionaryBenchOptions, out: Path) -> dict[str, Any]:
    """Write the page and its data from the cells that are finished; return the data."""
    kinds, beds = _checked(options)
    paths = [out / "cells" / bed / kind / CELL for bed, kind in _cells(kinds, beds, options)]
    left_out = [
        (kind, bed, why) for kind in kinds for bed in beds if (why := excluded(kind, bed, guided=budget(options).guided))
    ]
    found = summarise([read_json(path) for path in paths if path.exists()], options, len(paths), left_out)
    settings = options.model_dump(mode="json")
    usual = DictionaryBenchOptions().model_dump(mode="json")
    changed = {key: value for key, value in settings.items() if value != usual[key]}
    flags = [f"--{key.replace('_', '-')}" + ("" if value is True else f" {_flag(value)}") for key, value in changed.items()]
    command = " ".join(["pellucid bench dictionaries", *flags])
    found = {**found, "command": command, "environment": environment(), "options": settings}
    write_json(out / RESULTS, found)
    write_text(out / PAGE, html(found))
    write_text(out / TEXT, markdown(found))
    return found


def _flag(value: Any) -> str:
    return " ".join(str(item) for item in value) if isinstance(value, (list, tuple)) else str(value)


def _checked(options: DictionaryBenchOptions) -> tuple[list[str], list[str]]:
    kinds, beds = list(options.architectures) or list(ARCHITECTURES), list(options.beds) or list(BEDS)
    problems = [
        f"unknown architecture {kind!r}.{did_you_mean(kind, ARCHITECTURES)}" for kind in kinds if kind not in ARCHITECTURES
    ]
    problems += [f"unknown bed {bed!r}.{did_you_mean(bed, BEDS)} Known: {', '.join(BEDS)}" for bed in beds if bed not in BEDS]
    raise_all(problems, ConfigError)
    return kinds, beds


def _cells(kinds: list[str], beds: list[str], options: DictionaryBenchOptions) -> list[tuple[str, str]]:
    """Return (bed, architecture) of every cell, those that need the host's loss last: they take longest."""
    cells = [(bed, kind) for bed in beds for kind in kinds if not excluded(kind, bed, guided=budget(options).guided)]
    return sorted(cells, key=lambda cell: ARCHITECTURES[cell[1]].guided)


def _claim(options: DictionaryBenchOptions, out: Path) -> None:
    """Cells of other budgets, hosts or seeds may not be mixed; which of them are run may change."""
    plan = options.model_copy(update={"architectures": (), "beds": (), "workers": 1})
    path = out / PLAN
    if path.exists() and read_json(path)["digest"] != digest(plan):
        raise RunError(f"{out} holds a benchmark with other settings ({path}). Choose another folder (--out) or remove it.")
    write_json(path, {"digest": digest(plan), "options": plan.model_dump(mode="json")})


def _run(cells: list[tuple[str, str]], options: DictionaryBenchOptions, out: Path) -> Any:
    """Run cells in processes of one thread each; yield each one's name and CPU seconds as it ends."""
    if not cells:
        return
    workers = min(options.workers, len(cells))
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, mp_context=context, initializer=torch.set_num_threads, initargs=(1,)) as pool:
        # The first cell of a host fills the store that the others read, so it is not run beside them.
        first = next((cell for cell in cells if cell[0] == HOST), None)
        running = {pool.submit(_one, cell, options, out): cell for cell in cells if cell[0] != HOST or cell == first}
        later = [cell for cell in cells if cell[0] == HOST and cell != first]
        try:
            while running:
                done = next(as_completed(running))
                cell = running.pop(done)
                if cell == first:
                    running |= {pool.submit(_one, other, options, out): other for other in later}
                yield " ".join(cell), done.result()
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def _one(cell: tuple[str, str], options: DictionaryBenchOptions, out: Path) -> float:
    """Run a cell; one that cannot be run is written with its reason."""
    name, kind = cell
    folder, began = out / "cells" / name / kind, time.process_time()
    try:
        run_cell(kind, make_bed(name, options), folder)
    except (ArithmeticError, ValueError, RuntimeError) as error:
        log.warning("%s on %s: %s", kind, name, error)
        write_json(folder / CELL, {"architecture": kind, "bed": name, "failed": f"{type(error).__name__}: {error}"})
    return time.process_time() - began
