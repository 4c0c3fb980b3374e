"""SIGTERM, which torchrun sends to every other rank as soon as one has ended: time to say which."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from pellucid.core.errors import RankError
from pellucid.training.distributed.members import Members


@contextmanager
def terminated(members: Members) -> Iterator[None]:
    """Let SIGTERM raise a RankError that names the rank to blame, or this one if all others live.

    Outside the main thread signals cannot be caught and SIGTERM ends the process at once.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def handle(number: int, frame: Any) -> None:
        if not members.diagnosing:
            raise members.diagnose(RankError(f"rank {members.rank} was ended by SIGTERM"))

    before = signal.signal(signal.SIGTERM, handle)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
