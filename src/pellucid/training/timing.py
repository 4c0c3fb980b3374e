"""Where the time of a fit went, and how near to the machine's limit it was."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from pellucid.core.logging import log

KINDS = ("host", "dictionary", "wait", "disk")
WORKING = ("host", "dictionary")
"""Kinds in which operations are counted; see `Work` for which."""


class Timing:
    """Seconds of a fit by what they were spent on.

    host: runs of the host up to the last site needed. dictionary: updates, with the spliced runs of end-to-end
    objectives. wait: the fit stood still for the store. disk: threads read or wrote the store; they run beside the
    others, so disk is no part of the sum. other: everything else, such as making batches and checkpoints.
    """

    def __init__(self) -> None:
        self.seconds = dict.fromkeys(KINDS, 0.0)
        self.operations: dict[str, float] | None = dict.fromkeys(WORKING, 0.0)
        """Operations needed so far; None if an earlier part of the fit did not count them."""
        self.host_pass = 0.0
        """Operations of one pass of the host; counted whenever time is for the host."""
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
            if kind == "host":
                self.count(kind, self.host_pass)

    def add(self, kind: str, seconds: float) -> None:
        """Count some time."""
        self.seconds[kind] += seconds

    def count(self, kind: str, operations: int | float) -> None:
        """Count some operations."""
        if self.operations is not None:
            self.operations[kind] += operations

    @property
    def total(self) -> float:
        """Seconds since the fit began, without the time between a stop and its resume."""
        return self._before + time.monotonic() - self._started

    def state(self) -> dict[str, Any]:
        """Return what a resume needs."""
        return {"total": self.total, **self.seconds, "operations": self.operations}

    def load_state(self, state: dict[str, Any]) -> None:
        """Go on from a saved state."""
        self._before, self._started = state["total"], time.monotonic()
        self.seconds = {kind: state[kind] for kind in KINDS}
        self.operations = state.get("operations")  # checkpoints of earlier versions have none

    def rates(self, ceiling: float) -> dict[str, float | None]:
        """Return achieved GFLOP/s by kind, None where nothing was counted or no time was spent, and the measured `ceiling`."""
        found: dict[str, float | None] = {}
        for kind in WORKING:
            operations = self.operations[kind] if self.operations else 0.0
            seconds = self.seconds[kind]
            found[f"{kind}_gflops"] = round(operations / seconds / 1e9, 3) if operations and seconds else None
        return {**found, "ceiling_gflops": round(ceiling, 3)}

    def report(self) -> dict[str, float]:
        """Return seconds by kind, their total, and the shares of it in percent."""
        total = self.total
        seconds = self.seconds | {"other": total - sum(self.seconds[kind] for kind in KINDS if kind != "disk")}
        shares = {f"{kind}_percent": round(100 * value / total, 2) for kind, value in seconds.items()}
        return {"total": round(total, 3), **{kind: round(value, 3) for kind, value in seconds.items()}, **shares}

    def announce(self, ceiling: float) -> dict[str, float | None]:
        """Log the report and the rates beside `ceiling` in GFLOP/s; return both."""
        report, rates = self.report(), self.rates(ceiling)
        parts = ", ".join(f"{kind} {report[kind]:,.1f} s ({report[f'{kind}_percent']:.0f} %)" for kind in (*KINDS, "other"))
        log.info("time: %s s in all; %s", f"{report['total']:,.1f}", parts)
        found = [(kind, rates[f"{kind}_gflops"]) for kind in WORKING]
        reached = ", ".join(f"{kind} {rate:,.1f} ({100 * rate / ceiling:.0f} %)" for kind, rate in found if rate is not None)
        if reached:
            log.info("GFLOP/s of the operations needed: %s; one large product reaches %s", reached, f"{ceiling:,.1f}")
        return report | rates
