"""Emitted code run in a process of its own: no imports, few built-ins, limits on time, memory and files."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from pellucid.core.errors import PellucidError

SECONDS = 60
MEGABYTES = 1024
RUNNER = Path(__file__).with_name("runner.py")


class ProgramError(PellucidError, RuntimeError):
    """Emitted code did not run to its end: it raised, was refused, or hit a limit."""


def run_program(source: str, sequences: list[list[Any]], seconds: int = SECONDS, megabytes: int = MEGABYTES) -> list[list[Any]]:
    """Return program(xs) of each sequence, run by a separate Python.

    The process starts isolated (no site packages, no environment, an empty folder's worth of rights), limits its own CPU
    time, memory, open files and file size before it reads the code, and gets only a few built-ins: no import, no open.
    It is killed when twice the CPU limit has passed. Inputs with several numbers a step go in and come out as tuples.

    Raises ProgramError with what the code raised, or the limit it met.
    """
    order = {"source": source, "sequences": sequences, "seconds": seconds, "bytes": megabytes * 2**20}
    command = [sys.executable, "-I", "-S", "-E", "-B", str(RUNNER)]
    try:
        done = subprocess.run(
            command, input=json.dumps(order).encode(), capture_output=True, timeout=2 * seconds, env={}, check=False, cwd="/"
        )
    except subprocess.TimeoutExpired:
        raise ProgramError(f"the program did not end within {2 * seconds} seconds and was killed") from None
    if done.returncode != 0:
        raise ProgramError(_reason(done.returncode, done.stderr.decode(errors="replace"), seconds, megabytes))
    answer = json.loads(done.stdout)
    if "error" in answer:
        out_of_memory = answer["error"].startswith("MemoryError")
        raise ProgramError(_too_large(megabytes) if out_of_memory else f"the program raised {answer['error']}")
    return [[tuple(y) if isinstance(y, list) else y for y in ys] for ys in answer["outputs"]]


def _reason(status: int, errors: str, seconds: int, megabytes: int) -> str:
    last = errors.strip().splitlines()[-1] if errors.strip() else "no message"
    if "MemoryError" in last:
        return _too_large(megabytes)
    if status < 0:
        return f"the program was ended by signal {-status}; its limits are {seconds} s of CPU time and {megabytes} MB"
    return f"the program's process ended with status {status}: {last}"


def _too_large(megabytes: int) -> str:
    return f"the program needed more than {megabytes} MB"
