"""Starts fits as processes of their own, quickly: torch is imported once, then each fit is forked from here.

Reads one JSON object a line: {"start": {...}} is answered {"pid": n}; {"wait": pid, "timeout": s} is answered
{"status": code, or minus the signal, or null if it still runs}. Nothing here computes before a fork.
"""

from __future__ import annotations

import json
import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import small
import torch
import torch._dynamo  # what the first optimizer and the first model import late is imported here, so that no fork has to
from transformers import LlamaForCausalLM  # noqa: F401

import pellucid.training
from pellucid.core import logging as progress
from pellucid.core import machine
from pellucid.training import checkpoint, memory


def fit(order: dict[str, Any]) -> int:
    """Run one fit; 0 when finished, 130 after Ctrl-C, 1 after an error, which is in the log."""
    os.environ.update(order.get("env", {}))
    data = small.DATA[order.get("data", "tokens")]()
    if "signal_before" in order:
        os.kill(os.getpid(), order["signal_before"])
    if "signal_at" in order:
        _at(data, order["signal_at"][0], lambda: os.kill(os.getpid(), order["signal_at"][1]))
    if "sleep_at" in order:
        _at(data, order["sleep_at"][0], lambda: time.sleep(order["sleep_at"][1]))
    if "pause_at" in order:
        _pause(data, order["pause_at"], Path(order["marker"]))
    if "measure" in order:
        _measure(Path(order["measure"]))
    if "die_saving" in order:
        _die_saving(*order["die_saving"])
    if "die_at" in order:
        _die(order["die_at"], before=order["before"])
    try:
        pellucid.training.fit(
            small.config(**order["config"]), order["out"], host=small.HOSTS[order.get("host", "llama")](), data=data
        )
    except KeyboardInterrupt:
        return 130
    except Exception:
        logging.getLogger("pellucid").exception("the fit failed")
        return 1
    return 0


def _at(data: Any, step: int, action: Callable[[], None]) -> None:
    """Do something when `step` begins."""
    plain = data.train_indices

    def train_indices(at: int, size: int) -> Any:
        if at == step and size == small.ROWS:
            action()
        return plain(at, size)

    data.train_indices = train_indices


def _pause(data: small.Tokens, step: int, marker: Path) -> None:
    """Say that `step` has begun by a file, and stay in it until that is gone."""
    plain = data.train_batch

    def train_batch(number: int, size: int) -> Any:
        if number == step:
            marker.touch()
            end = time.monotonic() + 60
            while marker.exists() and time.monotonic() < end:
                time.sleep(0.005)
        return plain(number, size)

    data.train_batch = train_batch  # type: ignore[method-assign]


def _die(at: int, *, before: bool) -> None:
    """Kill this process at its `at`-th os.replace: every file and folder a run holds gets its name by one."""
    plain, calls = os.replace, 0

    def replace(*args: Any, **kwargs: Any) -> None:
        nonlocal calls
        calls += 1
        if calls == at and before:
            os.kill(os.getpid(), signal.SIGKILL)
        plain(*args, **kwargs)
        if calls == at:
            os.kill(os.getpid(), signal.SIGKILL)

    os.replace = replace  # type: ignore[assignment]


def _measure(figures: Path) -> None:
    """Write the estimated memory of the fit and the most it held after that to a file."""
    plain = memory.announce
    found: dict[str, int] = {}
    beside = figures.with_suffix(".new")

    def watch() -> None:
        while True:
            found["peak"] = max(found["peak"], machine.resident() or 0)
            beside.write_text(json.dumps(found))
            os.replace(beside, figures)  # this thread may end in the middle of a write
            time.sleep(0.003)

    def announce(host: Any, learners: Any, positions: int, *rest: Any) -> int:
        size = plain(host, learners, positions, *rest)
        parts = memory.estimate(host, learners, positions, size, *rest[2:])
        found.update(estimate=sum(parts.values()), held=parts["held"], peak=0)
        threading.Thread(target=watch, daemon=True).start()
        return size

    memory.announce = announce


def _die_saving(number: int, delay: float) -> None:
    """Kill this process so many seconds after it begins to write its `number`-th checkpoint."""
    plain, calls = checkpoint.save, 0

    def save(*args: Any, **kwargs: Any) -> None:
        nonlocal calls
        calls += 1
        if calls == number:
            threading.Timer(delay, os.kill, (os.getpid(), signal.SIGKILL)).start()
        plain(*args, **kwargs)

    checkpoint.save = save


def start(order: dict[str, Any]) -> int:
    """Fork a fit whose log goes to a file; return its process number."""
    pid = os.fork()
    if pid:
        return pid
    status = 1
    try:
        log = os.open(order["log"], os.O_CREAT | os.O_WRONLY | os.O_APPEND)
        for stream in (1, 2):
            os.dup2(log, stream)
        progress.to_stderr()
        status = fit(order)
    finally:
        os._exit(status)


def wait(pid: int, timeout: float) -> int | None:
    """Return the exit status of a process, or None if it still runs after `timeout` seconds."""
    end = time.monotonic() + timeout
    while True:
        found, status = os.waitpid(pid, os.WNOHANG)
        if found:
            return os.waitstatus_to_exitcode(status)
        if time.monotonic() >= end:
            return None
        time.sleep(0.002)


def main() -> None:
    torch.set_num_threads(1)
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    for line in sys.stdin:
        order = json.loads(line)
        reply = {"pid": start(order["start"])} if "start" in order else {"status": wait(order["wait"], order["timeout"])}
        sys.stdout.write(json.dumps(reply) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
