"""What long work shows: JSON lines in a file always, a progress line on a terminal only."""

from __future__ import annotations

import json
import logging
import math
import sys
import time
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, Task, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.text import Text

log = logging.getLogger("pellucid")


class JsonLines:
    """Append-only JSON lines; `offset` is what a resume truncates the file to."""

    def __init__(self, path: Path, offset: int | None = None) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = path.open("ab")
        if offset is not None:
            self._file.truncate(offset)
            self._file.seek(offset)

    @property
    def offset(self) -> int:
        """Bytes written so far."""
        return self._file.tell()

    def write(self, **values: Any) -> None:
        """Write one line; a number that is not finite is written as null."""
        line = json.dumps({key: finite(value) for key, value in values.items()}, allow_nan=False)
        self._file.write(line.encode() + b"\n")
        self._file.flush()

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def finite(value: Any) -> Any:
    """Return the value with every float that is not finite replaced by None, at any depth."""
    if isinstance(value, dict):
        return {key: finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [finite(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


class Ticker:
    """Progress with rate and time left: a bar on a terminal, a log line every `every` seconds elsewhere."""

    def __init__(self, title: str, total: int | float, unit: str = "tokens", every: float = 20.0) -> None:
        self.title, self.total, self.unit, self.every = title, total, unit, every
        self._done: int | float = 0
        self._start = self._last = time.monotonic()
        console = Console(stderr=True)
        self._bar = None
        if console.is_terminal:
            times = (TimeElapsedColumn(), TextColumn("left"), TimeRemainingColumn())
            self._bar = Progress(TextColumn("{task.description}"), BarColumn(), _Rate(unit), *times, console=console)

    def __enter__(self) -> Ticker:
        self._start = self._last = time.monotonic()
        if self._bar is not None:
            self._bar.start()
            self._task = self._bar.add_task(self.title, total=self.total)
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.stop()

    def advance(self, amount: int | float, note: str = "") -> None:
        """Count `amount` more units done."""
        self._done += amount
        if self._bar is not None:
            self._bar.update(self._task, advance=amount, description=f"{self.title} {note}".strip())
            return
        now = time.monotonic()
        if now - self._last >= self.every:
            self._last = now
            rate = self._done / max(now - self._start, 1e-9)
            left = (self.total - self._done) / max(rate, 1e-9)
            done = f"{self._done:.0f} of {self.total:.0f} {self.unit}"
            log.info("%s: %s, %s/s, %.0f s left%s", self.title, done, short(rate), left, f" {note}" if note else "")


class _Rate(ProgressColumn):
    def __init__(self, unit: str) -> None:
        super().__init__()
        self.unit = unit

    def render(self, task: Task) -> Text:
        return Text(f"{short(task.speed or 0)} {self.unit}/s")


def short(rate: float | int) -> str:
    """Write a rate whole, with thousands apart; with two digits below 10, so that slow work does not read as none."""
    return f"{rate:,.0f}" if rate >= 10 or rate == 0 else f"{rate:.2g}"


def to_stderr(level: int = logging.INFO) -> None:
    """Send pellucid's log to stderr as plain lines; what the command line does at its start."""
    if not log.handlers:
        handler = logging.StreamHandler(sys.stderr)
        handler.setFormatter(logging.Formatter("%(message)s"))
        log.addHandler(handler)
    log.setLevel(level)
