"""What every later stage knows of a recurrent network: where it starts and how it steps."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor


@runtime_checkable
class StepNetwork(Protocol):
    """A recurrent network seen from outside: a start state and a step, batched, float64."""

    n_state: int
    """Numbers that are carried from one step to the next."""
    n_in: int
    """Numbers that enter at each step."""
    n_out: int
    """Numbers that leave at each step."""

    def initial(self, n: int) -> Float[Tensor, "n s"]:
        """Return the state before the first input, once for each of n sequences."""
        ...

    def step(self, h: Float[Tensor, "n s"], x: Float[Tensor, "n i"]) -> tuple[Float[Tensor, "n s"], Float[Tensor, "n o"]]:
        """Read one input and return the next state and the output that belongs to this input."""
        ...


@torch.no_grad()
def run(network: StepNetwork, xs: Float[Tensor, "n t i"]) -> Float[Tensor, "n t o"]:
    """Return the outputs of every step of n sequences of equal length, from the start state.

    h_0 = initial, (h_t, y_t) = step(h_{t-1}, x_t); gradients are not recorded. A length of 0 gives no outputs.
    """
    h = network.initial(len(xs))
    outputs = xs.new_empty((len(xs), xs.shape[1], network.n_out))
    for t in range(xs.shape[1]):
        h, outputs[:, t] = network.step(h, xs[:, t])
    return outputs
