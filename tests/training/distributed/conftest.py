"""Fits over several real processes on this machine, over gloo."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
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


class Starter:
    """Starts the processes of fits into folders of `where`."""

    def __init__(self, fork_server: Any, where: Path) -> None:
        self.fork_server, self.where, self.started = fork_server, where, []

    def __call__(self, name: str, size: int, log: str = "", each: dict[int, Any] | None = None, **config: Any) -> list[Any]:
        """Start a fit over `size` processes; `each` adds to the order of single ranks, `host` and `data` to that of all."""
        env = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port()), "WORLD_SIZE": str(size)}
        order = {key: config.pop(key) for key in ("host", "data") if key in config}
        for rank in range(size):
            own = {**order, **(each or {}).get(rank, {})}
            changed = {**config, **own.pop("config", {})}
            ranked = {"env": {**env, "RANK": str(rank)}} if size > 1 else {}
            self.started.append(self.fork_server.fit(self.where / name, f"{log}{rank}", config=changed, **own, **ranked))
        return self.started[-size:]

    def whole(self, name: str, size: int, **config: Any) -> Path:
        """Return the run folder of a fit that came to its end on every rank."""
        for process in self(name, size, **config):
            assert process.wait() == 0, process.log
        return self.where / name

    def close(self) -> None:
        """End what still runs."""
        for process in self.started:
            if process.status is None:
                process.kill()


@pytest.fixture
def start(fork_server, tmp_path) -> Iterator[Starter]:
    """Starts fits of this test."""
    starter = Starter(fork_server, tmp_path)
    yield starter
    starter.close()


@pytest.fixture(scope="session")
def alone(fork_server, tmp_path_factory) -> Iterator[Any]:
    """alone(**config) -> run folder of one process; the same fit is run once for all tests."""
    starter, found = Starter(fork_server, tmp_path_factory.mktemp("alone")), {}

    def run(**config: Any) -> Path:
        key = json.dumps(config, sort_keys=True)
        if key not in found:
            found[key] = starter.whole(str(len(found)), 1, **config)
        return found[key]

    yield run
    starter.close()


def _tensors(run: Path) -> dict[str, Tensor]:
    files = sorted(run.glob("dictionaries/*/weights.safetensors"))
    return {f"{path.parent.name}/{key}": value for path in files for key, value in load_file(path).items()}


def _metrics(run: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]


@pytest.fixture
def gap() -> Any:
    """gap(run, other) -> largest difference of any weight or metric; a metric above 1 counts relative to its size."""

    def largest(one: Path, other: Path) -> float:
        mine, theirs = _tensors(one), _tensors(other)
        assert mine.keys() == theirs.keys() and mine
        lines = list(zip(_metrics(one), _metrics(other), strict=True))
        assert all(a.keys() == b.keys() and a["dictionary"] == b["dictionary"] and a["step"] == b["step"] for a, b in lines)
        numbers = [(a[key], b[key]) for a, b in lines for key in a if isinstance(a[key], (int, float))]
        weights = max(float((mine[key] - theirs[key]).abs().max()) for key in mine)
        return max(weights, max(abs(a - b) / max(1.0, abs(a)) for a, b in numbers))

    return largest
