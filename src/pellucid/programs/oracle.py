"""A recurrent network as an oracle: it is asked about input words and answers with rounded outputs."""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from pellucid.core.errors import NumericsError
from pellucid.programs.networks.base import StepNetwork, run
from pellucid.programs.tasks.base import InputDomain

LARGEST_STATE = 1e12
"""A state beyond this counts as exploded."""


class Oracle:
    """Asks a network about integer inputs of its domain, in float64 and in blocks that fit into memory."""

    def __init__(self, network: StepNetwork, domain: InputDomain, block: int = 65536) -> None:
        self.network, self.domain, self.block = network, domain, block

    @torch.no_grad()
    def outputs(self, xs: Int[np.ndarray, "n t i"]) -> Float[np.ndarray, "n t o"]:
        """Return the outputs of every step.

        Raises NumericsError naming the step at which an output is not finite within the training length.
        """
        parts = [run(self.network, torch.from_numpy(xs[i : i + self.block]).double()) for i in range(0, len(xs), self.block)]
        outputs = torch.cat(parts).double().numpy()
        bad = ~np.isfinite(outputs[:, : self.domain.length])
        if bad.any():
            step = int(np.argwhere(bad)[:, 1].min()) + 1
            raise NumericsError(
                f"the network's output at step {step} is not finite; wanted numbers up to step {self.domain.length}"
            )
        return outputs

    def rounded(self, xs: Int[np.ndarray, "n t i"]) -> Int[np.ndarray, "n t o"]:
        """Return the outputs of every step rounded to integers; what is not finite or beyond 2^53 becomes -2^53."""
        return to_integers(self.outputs(xs))

    def start(self) -> Float[np.ndarray, " s"]:
        """Return the state before the first input."""
        return self.network.initial(1)[0].detach().double().numpy()

    @torch.no_grad()
    def step(
        self, h: Float[np.ndarray, "n s"], x: Int[np.ndarray, "n i"]
    ) -> tuple[Float[np.ndarray, "n s"], Float[np.ndarray, "n o"]]:
        """Return the next state and the output of n states, each with an input of its own."""
        after, outputs = [], []
        for i in range(0, len(h), self.block):
            part, y = self.network.step(_double(h[i : i + self.block]), _double(x[i : i + self.block]))
            after.append(part.double().numpy())
            outputs.append(y.double().numpy())
        states = np.concatenate(after)
        if not np.isfinite(states).all() or np.abs(states).max(initial=0) > LARGEST_STATE:
            raise NumericsError(f"the network's state explodes: a number beyond {LARGEST_STATE:g} within the training length")
        return states, np.concatenate(outputs)

    def answers(self, h: Float[np.ndarray, "n s"], words: Int[np.ndarray, "w k i"]) -> Int[np.ndarray, "n w k o"]:
        """Return the rounded outputs of every word, read from every state."""
        n, (n_words, length) = len(h), words.shape[:2]
        state, rows = np.repeat(h, n_words, axis=0), []
        for k in range(length):
            state, y = self.step(state, np.tile(words[:, k], (n, 1)))
            rows.append(to_integers(y))
        return np.stack(rows, 1).reshape(n, n_words, length, -1)

    def symbols(self) -> Int[np.ndarray, "a i"]:
        """Return every input of a step, in order."""
        values = np.arange(self.domain.low, self.domain.high + 1)
        return np.stack([grid.ravel() for grid in np.meshgrid(*[values] * self.domain.width, indexing="ij")], 1)


def to_integers(values: Float[np.ndarray, "..."]) -> Int[np.ndarray, "..."]:
    """Round; what is not finite or beyond 2^53, where float64 ends to hold integers, becomes -2^53."""
    usable = np.isfinite(values) & (np.abs(values) < 2.0**53)
    return np.where(usable, np.rint(np.where(usable, values, 0)), -(2.0**53)).astype(np.int64)


def _double(values: np.ndarray) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(values)).double()
