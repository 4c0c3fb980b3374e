"""Small fits in this process, and fits in processes of their own."""

from __future__ import annotations

import importlib.util
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.training.stored import STEPS

HERE = Path(__file__).parent
LONG = 120.0
"""Seconds after which a process that should end has failed; a machine may be slow."""


@pytest.fixture(scope="session")
def small() -> Any:
    """The module small.py."""
    spec = importlib.util.spec_from_file_location("training_small", HERE / "small.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class Fit:
    """A fit in a process of its own."""

    def __init__(self, server: ForkServer, pid: int, log: Path) -> None:
        self.server, self.pid, self._log, self.status = server, pid, log, None

    @property
    def log(self) -> str:
        """What it wrote to stderr."""
        return self._log.read_text() if self._log.exists() else ""

    def wait(self, timeout: float = LONG) -> int | None:
        """Return its exit status (minus the signal that ended it), None if it still runs after `timeout` seconds."""
        if self.status is None:
            self.status = self.server.ask(wait=self.pid, timeout=timeout)["status"]
        return self.status

    def send(self, number: int) -> None:
        """Send it a signal."""
        os.kill(self.pid, number)

    def kill(self) -> int | None:
        """End it by SIGKILL, if it still runs, and return its status."""
        if self.status is None:
            self.send(signal.SIGKILL)
        return self.wait()


class ForkServer:
    """The process that fits are forked from."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, str(HERE / "fork_server.py")], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
            env={**os.environ, "OMP_NUM_THREADS": "1"}, start_new_session=True,
        )  # fmt: skip
        assert self._process.stdout is not None
        assert self._process.stdout.readline() == "ready\n"

    def ask(self, **order: Any) -> dict[str, Any]:
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.write(json.dumps(order) + "\n")
        self._process.stdin.flush()
        return json.loads(self._process.stdout.readline())

    def fit(self, out: Path, log: str = "log", config: dict[str, Any] | None = None, **order: Any) -> Fit:
        """Start a fit into `out`; its log is the file `log` beside it. `order`: see fork_server.py."""
        path = out.parent / f"{out.name}.{log}"
        pid = self.ask(start={"out": str(out), "log": str(path), "config": config or {}, **order})["pid"]
        return Fit(self, pid, path)

    def close(self) -> None:
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait(timeout=LONG)
        self._process.stdout.close()


@pytest.fixture(scope="session")
def fork_server() -> Iterator[ForkServer]:
    """Starts fits as processes of their own."""
    server = ForkServer()
    yield server
    server.close()


@pytest.fixture
def fitted(small, tmp_path) -> Any:
    """A function that fits a small config in this process: fitted(name, **changes) -> run folder."""
    from pellucid.training import fit

    def run(name: str = "run", *, data: Any = None, host: Any = None, **changes: Any) -> Path:
        return fit(small.config(**changes), tmp_path / name, host=host or small.host(), data=data or small.Tokens())

    return run


@pytest.fixture
def stored(fitted, small, tmp_path):
    """stored(name, store settings, **changes) -> weights of a fit with a store in tmp_path / 'store'."""

    def run(name, store=None, **changes):
        settings = {"folder": str(tmp_path / "store"), **(store or {})}
        return small.weights(fitted(name, **{"steps": STEPS, "store": settings, "checkpoint_seconds": 1e6, **changes}))

    return run
