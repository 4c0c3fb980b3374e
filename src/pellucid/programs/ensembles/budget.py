"""CPU time of one training, and what it tells about itself."""

from __future__ import annotations

import time
from collections.abc import Callable


class Budget:
    """CPU seconds of this process since the start, against a limit."""

    def __init__(self, seconds: float, progress: Callable[[str], None] | None = None) -> None:
        self.seconds = seconds
        self._start = time.process_time()
        self._progress = progress

    @property
    def spent(self) -> float:
        """CPU seconds since the start."""
        return time.process_time() - self._start

    @property
    def over(self) -> bool:
        """Whether the limit is reached."""
        return self.spent >= self.seconds

    def note(self, text: str) -> None:
        """Tell how far it is."""
        if self._progress is not None:
            self._progress(f"{text}, {self.spent:.0f} s")
