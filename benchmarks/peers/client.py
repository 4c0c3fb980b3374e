"""The parent's side: start a contender's process, ask it for steps, and say by name what cannot run."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
ENVIRONMENTS = HERE.parent.parent / ".peers"
PEERS = {
    "sparsify": "sparsify",
    "sae_lens": "sae_lens",
    "sae_lens_sparse": "sae_lens",
    "dictionary_learning": "dictionary_learning",
}
"""Contender -> the peer that it comes from; every other contender runs in this environment."""
LIBRARIES = {**PEERS, "product": "plain", "product_fresh": "plain", "plain": "plain", "pellucid": "pellucid"}


class Missing(Exception):
    """A contender that cannot run here; the message says which and why."""


def interpreter(contender: str, environments: Path = ENVIRONMENTS) -> str:
    """Return the Python that runs a contender; Missing if its peer is not installed."""
    if contender not in PEERS:
        return sys.executable
    found = environments / PEERS[contender] / "bin" / "python"
    if not (found.parent.parent / ".installed").exists():
        raise Missing(f"{contender}: {PEERS[contender]} is not installed in {found.parent.parent}; run `make peers`")
    return str(found)


def surroundings(contender: str, threads: int) -> dict[str, str]:
    """Return the environment variables of a contender's process: no network, nothing of this environment in a peer's."""
    given = {**os.environ, "OMP_NUM_THREADS": str(threads), "HF_HUB_OFFLINE": "1", "WANDB_MODE": "disabled"}
    if contender in PEERS:
        given.pop("PYTHONPATH", None)
    return given


class Worker:
    """A contender's process; a context manager."""

    def __init__(self, contender: str, threads: int, task: dict[str, Any], environments: Path = ENVIRONMENTS) -> None:
        """Start it and make its dictionary. Raises Missing if it is not installed, has no such architecture, or fails."""
        self.contender = contender
        command = [interpreter(contender, environments), str(HERE / "worker.py"), LIBRARIES[contender]]
        self.said = tempfile.TemporaryFile("w+")  # noqa: SIM115 - closed with the worker
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.said, text=True,
            env=surroundings(contender, threads), cwd=tempfile.gettempdir(),
        )  # fmt: skip
        try:
            self.prepared = self.ask("prepare", name=contender, threads=threads, task=task)
            if unknown := self.prepared.get("unknown"):
                raise Missing(f"{contender}: {unknown}")
        except Missing:
            self.close()
            raise

    def ask(self, what: str, **given: Any) -> dict[str, Any]:
        """Ask for something and wait for the answer; Missing with the process's last words if it died."""
        assert self.process.stdin is not None and self.process.stdout is not None
        try:
            self.process.stdin.write(json.dumps({"do": what, **given}) + "\n")
            self.process.stdin.flush()
        except BrokenPipeError:
            pass  # it died; its answer below is empty
        answer = self.process.stdout.readline()
        if not answer:
            code = self.process.wait()
            self.said.seek(0)
            last = self.said.read().strip().splitlines()[-4:]
            raise Missing(f"{self.contender}: its process ended with status {code} at '{what}': {' | '.join(last)}")
        found = json.loads(answer)
        if "failed" in found:
            raise Missing(f"{self.contender}: failed at '{what}': {found['failed']}")
        return found

    def close(self) -> None:
        """End the process."""
        assert self.process.stdin is not None and self.process.stdout is not None
        with contextlib.suppress(BrokenPipeError):
            self.process.stdin.close()
        try:
            self.process.wait(timeout=30)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.process.stdout.close()
        self.said.close()

    def __enter__(self) -> Worker:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
