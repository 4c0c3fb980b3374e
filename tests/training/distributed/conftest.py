"""Fits over several real processes on this machine, over gloo."""

from __future__ import annotations

import json
import socket
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file
from torch import Tensor


def free_port() -> int:
    """Return a port that nobody listens on."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


@pytest.fixture
def start(fork_server, tmp_path):
    """start(name, size, each={rank: order}, **config) -> the processes of a fit; `size` 1 is a process by itself."""
    started = []

    def run(name: str, size: int, log: str = "", each: dict[int, dict[str, Any]] | None = None, **config: Any) -> list[Any]:
        env = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port()), "WORLD_SIZE": str(size)}
        order = {key: config.pop(key) for key in ("host", "data") if key in config}
        for rank in range(size):
            own = {**order, **(each or {}).get(rank, {})}
            changed = {**config, **own.pop("config", {})}
            ranked = {"env": {**env, "RANK": str(rank)}} if size > 1 else {}
            started.append(fork_server.fit(tmp_path / name, f"{log}{rank}", config=changed, **own, **ranked))
        return started[-size:]

    yield run
    for process in started:
        if process.status is None:
            process.kill()


@pytest.fixture
def fitted_over(start, tmp_path):
    """fitted_over(name, size, **config) -> run folder of a fit that came to its end."""

    def run(name: str, size: int, **config: Any) -> Path:
        for process in start(name, size, **config):
            assert process.wait() == 0, process.log
        return tmp_path / name

    return run


def tensors(run: Path) -> dict[str, Tensor]:
    """Return every weight of a run."""
    files = sorted(run.glob("dictionaries/*/weights.safetensors"))
    return {f"{path.parent.name}/{key}": value for path in files for key, value in load_file(path).items()}


def metrics(run: Path) -> list[dict[str, Any]]:
    """Return the lines of metrics.jsonl."""
    return [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]


def largest_difference(one: Path, other: Path) -> dict[str, float]:
    """Return the largest difference of any weight, and of any metric relative to 1 or its size."""
    mine, theirs = tensors(one), tensors(other)
    assert mine.keys() == theirs.keys() and mine
    lines = list(zip(metrics(one), metrics(other), strict=True))
    assert all(a.keys() == b.keys() and a["dictionary"] == b["dictionary"] and a["step"] == b["step"] for a, b in lines)
    numbers = [(a[key], b[key]) for a, b in lines for key in a if isinstance(a[key], (int, float))]
    return {
        "weights": max(float((mine[key] - theirs[key]).abs().max()) for key in mine),
        "metrics": max(abs(a - b) / max(1.0, abs(a)) for a, b in numbers),
    }
