"""Where the time of a fit went."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from pellucid.core.logging import log

KINDS = ("host", "dictionary", "wait", "disk")


class Timing:
    """Seconds of a fit by what they were spent on.

    host: runs of the host up to the last site needed. dictionary: updates, with the spliced runs of end-to-end
    objectives. wait: the fit stood still for the store. disk: threads read or wrote the store; they run beside the
    others, so disk is no part of the sum. other: everything else, such as making batches and checkpoints.
    """

    def __init__(self) -> None:
        self.seconds = dict.fromkeys(KINDS, 0.0)
        self._before = 0.0
        self._started = time.monotonic()

    @contextmanager
    def during(self, kind: str) -> Iterator[None]:
        """Count the time spent in the body."""
        began = time.monotonic()
        try:
            yield
        finally:
            self.add(kind, time.monotonic() - began)

    def add(self, kind: str, seconds: float) -> None:
        """Count some time."""
        self.seconds[kind] += seconds

    @property
    def total(self) -> float:
        """Seconds since the fit began, without the time between a stop and its resume."""
        return self._before + time.monotonic() - self._started

    def state(self) -> dict[str, float]:
        """Return what a resume needs."""
        return {"total": self.total, **self.seconds}

    def load_state(self, state: dict[str, float]) -> None:
        """Go on from a saved state."""
        self._before, self._started = state["total"], time.monotonic()
        self.seconds = {kind: state[kind] for kind in KINDS}

    def report(self) -> dict[str, float]:
        """Return seconds by kind, their total, and the shares of it in percent."""
        total = self.total
        seconds = self.seconds | {"other": total - sum(self.seconds[kind] for kind in KINDS if kind != "disk")}
        shares = {f"{kind}_percent": round(100 * value / total, 2) for kind, value in seconds.items()}
        return {"total": round(total, 3), **{kind: round(value, 3) for kind, value in seconds.items()}, **shares}

    def announce(self) -> dict[str, float]:
        """Log the report and return it."""
        report = self.report()
        parts = ", ".join(f"{kind} {report[kind]:,.1f} s ({report[f'{kind}_percent']:.0f} %)" for kind in (*KINDS, "other"))
        log.info("time: %s s in all; %s", f"{report['total']:,.1f}", parts)
        return report
