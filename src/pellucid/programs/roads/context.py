"""What the roads share: the network as an oracle, its answers to random inputs, and constants found from them."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from jaxtyping import Float, Int

from pellucid.programs.language.machine import Machine
from pellucid.programs.oracle import Oracle, to_integers
from pellucid.programs.states.search import Extracted, TooManyStates, find_automaton


@dataclass
class Context:
    """One network under study."""

    oracle: Oracle
    xs: Int[np.ndarray, "n t i"]
    """Inputs of the training length that the network answered."""
    raw: Float[np.ndarray, "n t o"]
    """Its outputs."""
    max_states: int
    deadline: float = field(default_factory=lambda: time.process_time() + 60)
    """When searching must end, in CPU seconds of this process: what is found must not depend on what else the machine does."""

    @cached_property
    def ys(self) -> Int[np.ndarray, "n t o"]:
        """Return the outputs rounded."""
        return to_integers(self.raw)

    @property
    def constants(self) -> list[int]:
        """Return integers that the data suggest: the ends of the inputs, and how many values there are."""
        domain = self.oracle.domain
        return list(dict.fromkeys([domain.low, domain.high, domain.high - domain.low + 1]))

    @cached_property
    def extraction(self) -> Extracted | TooManyStates:
        """Return the automaton, or why there is none."""
        try:
            return find_automaton(self.oracle, self.max_states)
        except TooManyStates as error:
            return error

    @property
    def late(self) -> bool:
        """Say whether the time for searching is used up."""
        return time.process_time() > self.deadline


Road = Callable[[Context], Iterator[Machine]]
"""Yields machines that may be what the network does; each is checked afterwards."""
