"""Updates whose numbers are not finite, or whose loss or gradient jumps: which they are, and what happens to them."""

from __future__ import annotations

import math
import statistics
from collections import deque
from typing import Any, Literal

from pydantic import Field

from pellucid.core.config import Config
from pellucid.core.errors import NumericsError


class SpikeConfig(Config):
    """Which updates of a dictionary are faulty, and what a fit does about them.

    Always faulty: activations, a loss or a gradient norm that are not finite. With `factor` f and `norm_factor` g also
    an update t with

        loss_t > f * median(loss of the last `window` updates taken)   or   |gradient_t| > g * median(|gradient| of these)

    once so many were taken; the median, because one spike among them does not move it. Other dictionaries of the fit go
    on. The default stops at the first number that is not finite and looks for no spikes: what dropping an update hides is
    mostly a host, a learning rate or data to be mended, and what counts as a spike depends on the loss.
    """

    action: Literal["stop", "skip", "rewind"] = "stop"
    """stop: an error names dictionary, step and numbers. skip: this update of this dictionary is dropped, its weights,
    optimizer and counters stay as they are. rewind: the dictionary goes back to its state at the last multiple of
    `rewind_steps`, and what it did since is dropped with this update (Chowdhery et al. 2022, section 5.1). Activations that
    are not finite are no fault of the dictionary and are skipped under rewind as well."""
    factor: float | None = Field(None, gt=1, allow_inf_nan=False)
    """A loss above so many times the median is faulty; None: only one that is not finite."""
    norm_factor: float | None = Field(None, gt=1, allow_inf_nan=False)
    """A gradient norm (before clipping) above so many times the median is faulty; None: only one that is not finite."""
    window: int = Field(64, ge=2, le=100_000)
    """Updates whose median is compared with."""
    tries: int = Field(5, ge=1)
    """Faults in a row (rewind: between two multiples of `rewind_steps`) that are borne; the next one stops the fit."""
    rewind_steps: int = Field(1000, ge=1)
    """rewind: updates between the states that can be gone back to. Each is a checkpoint, kept as long as it is needed:
    by the clock alone, a fit that was killed would go back to another state than one that was not."""


class SpikeError(NumericsError):
    """One update of one dictionary is faulty."""

    def __init__(self, message: str, reason: str, value: float | None = None, usual: float | None = None) -> None:
        super().__init__(message)
        self.reason, self.value, self.usual = reason, value, usual


class Watch:
    """What one dictionary's updates were like, and which of them were dropped."""

    def __init__(self, config: SpikeConfig, name: str, site: str, lr: float) -> None:
        self.config, self.name, self.site, self.lr = config, name, site, lr
        self._usual: dict[str, deque[float]] = {kind: deque(maxlen=config.window) for kind in ("loss", "gradient")}
        self._factors = {"loss": config.factor, "gradient": config.norm_factor}
        self.skipped: list[list[int]] = []
        """First and last step (from 0) of every stretch of updates that the weights hold nothing of."""
        self._faults, self._point = 0, 0

    @property
    def drops(self) -> bool:
        """True if a faulty update is dropped, not an error."""
        return self.config.action != "stop"

    def check(self, kind: str, value: float, step: int, terms: dict[str, float] | None = None) -> None:
        """Raise SpikeError if the 'loss' or the norm of the 'gradient' of an update is faulty."""
        what = f"the {kind} of dictionary '{self.name}' at site '{self.site}'"
        listed = f": {terms}" if terms else ""
        if not math.isfinite(value):
            text = f"{what} is not finite at step {step}{listed}. Lower lr ({self.lr}) or look at the batch."
            raise SpikeError(text, kind, value)
        factor, before = self._factors[kind], self._usual[kind]
        if factor is None or len(before) < self.config.window:
            return
        usual = statistics.median(before)
        if value > factor * usual > 0:
            text = (
                f"{what} is {value:.4g} at step {step}, over {factor:g} times the median {usual:.4g} of {len(before)} updates"
            )
            raise SpikeError(
                f"{text}{listed}. Lower lr ({self.lr}), look at the batch, or set spikes.action.", kind, value, usual
            )

    def accept(self, loss: float, norm: float) -> None:
        """Count an update that was taken."""
        for kind, value in (("loss", loss), ("gradient", norm)):
            if self._factors[kind] is not None:
                self._usual[kind].append(value)
        if self.config.action == "skip":
            self._faults = 0

    def drop(self, error: SpikeError, step: int) -> dict[str, Any]:
        """Count a dropped update and return its line of metrics; raise SpikeError if there were too many."""
        point = step // self.config.rewind_steps * self.config.rewind_steps
        back = self.config.action == "rewind" and error.reason != "activations"
        if self.config.action == "rewind" and point != self._point:
            self._faults, self._point = 0, point
        self._faults += 1
        if self._faults > self.config.tries:
            since = f"since step {point}" if self.config.action == "rewind" else "in a row"
            raise SpikeError(
                f"{error} It is fault {self._faults} {since}, and spikes.tries is {self.config.tries}.",
                error.reason,
                error.value,
            )
        first = point if back else step
        self.skipped = [*(stretch for stretch in self.skipped if stretch[0] < first), [first, step]]
        line = {"dictionary": self.name, "event": "rewind" if back else "skip", "reason": error.reason}
        values = {"loss": error.value if error.reason == "loss" else None, "usual": error.usual, "why": str(error)}
        return {**line, **values, **({"back_to": point} if back else {})}

    def state(self) -> dict[str, Any]:
        """Return what an exact resume needs."""
        return {kind: list(values) for kind, values in self._usual.items()} | self.history()

    def history(self) -> dict[str, Any]:
        """Return the part of the state that going back to an earlier one must not undo."""
        return {"skipped": self.skipped, "faults": self._faults, "point": self._point}

    def load_state(self, state: dict[str, Any]) -> None:
        """Go on from a saved state, or from the history of one."""
        for kind, values in self._usual.items():
            if kind in state:
                values.clear()
                values.extend(state[kind])
        self.skipped, self._faults, self._point = state["skipped"], state["faults"], state["point"]
