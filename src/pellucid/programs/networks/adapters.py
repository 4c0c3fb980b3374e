"""Networks made elsewhere, seen as a start state and a step: nn.RNN, nn.GRU, nn.LSTM, or any step function."""

from __future__ import annotations

import copy
from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor, nn

from pellucid.core.errors import ConfigError, NumericsError

Step = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]
"""(h [n, s], x [n, i]) -> (next h [n, s], y [n, o])."""


class FunctionNetwork:
    """Any step function (h, x) -> (h, y), batched.

    `start` is the state before the first input. Widths in and out are told or found by one step on zeros. What the
    function returns is brought to float64; ConfigError says what has a wrong shape, NumericsError that a state exploded.
    """

    def __init__(self, step: Step, start: Float[Tensor, "s"], n_in: int) -> None:
        if start.ndim != 1 or not len(start):
            raise ConfigError(f"the start state has shape {tuple(start.shape)}, wanted one axis with at least one number")
        if n_in < 1:
            raise ConfigError(f"n_in is {n_in}, wanted at least one number a step")
        self._step, self._start = step, start.detach().double()
        if not bool(self._start.isfinite().all()):
            raise NumericsError("the start state holds numbers that are not finite")
        self.n_state, self.n_in = len(start), n_in
        self.n_out = self._width()

    def initial(self, n: int) -> Float[Tensor, "n s"]:
        """Return the start state n times."""
        return self._start.expand(n, -1).clone()

    @torch.no_grad()
    def step(self, h: Float[Tensor, "n s"], x: Float[Tensor, "n i"]) -> tuple[Float[Tensor, "n s"], Float[Tensor, "n o"]]:
        """Call the function; NumericsError names the first of the n sequences whose state or output is not finite."""
        state, output = self._step(h, x)
        state, output = state.double(), output.double()
        if state.shape != h.shape:
            raise ConfigError(f"the step returned a state {tuple(state.shape)} for one of {tuple(h.shape)}; they must be alike")
        for name, value in (("state", state), ("output", output)):
            bad = ~value.isfinite().all(1)
            if bool(bad.any()):
                row = int(bad.nonzero()[0, 0])
                raise NumericsError(
                    f"the {name} of sequence {row + 1} is not finite: state {_short(h[row])}, input {_short(x[row])} "
                    f"gave {_short(value[row])}. The network's state explodes: train it on longer sequences or bound its state"
                )
        return state, output

    @torch.no_grad()
    def _width(self) -> int:
        x = torch.zeros(2, self.n_in, dtype=torch.float64)
        found = self._step(self.initial(2), x)
        if not isinstance(found, tuple) or len(found) != 2 or not all(isinstance(part, Tensor) for part in found):
            raise ConfigError(f"the step returned {type(found).__name__}, wanted a tuple of two tensors: next state and output")
        state, output = found
        if tuple(state.shape) != (2, self.n_state) or output.ndim != 2 or len(output) != 2:
            raise ConfigError(
                f"two sequences gave a state {tuple(state.shape)} and an output {tuple(output.shape)}, "
                f"wanted (2, {self.n_state}) and (2, numbers out)"
            )
        return output.shape[1]


def from_torch(recurrent: nn.Module, read_out: nn.Module | None = None) -> FunctionNetwork:
    """Return a one-directional nn.RNN, nn.GRU or nn.LSTM of any number of layers as a step network.

    The output of a step is `read_out` of the last layer's output [n, hidden], or that itself. The state holds the hidden
    state of every layer, and for an LSTM the cell state of every layer behind it; it starts at 0. Both modules are copied
    to float64 and put in evaluation mode, so the caller's own stay as they are.
    """
    if not isinstance(recurrent, (nn.RNN, nn.GRU, nn.LSTM)):
        raise ConfigError(
            f"{type(recurrent).__name__} is no nn.RNN, nn.GRU or nn.LSTM; give any other as a step: FunctionNetwork"
        )
    if recurrent.bidirectional:
        raise ConfigError("the network is bidirectional: its outputs depend on later inputs, so it has no step")
    core = copy.deepcopy(recurrent).double().eval()
    head = nn.Identity() if read_out is None else copy.deepcopy(read_out).double().eval()
    widths = [core.proj_size or core.hidden_size] * core.num_layers
    hidden = sum(widths)
    is_lstm = isinstance(core, nn.LSTM)
    n_state = hidden + (core.hidden_size * core.num_layers if is_lstm else 0)

    def step(h: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
        state = h[:, :hidden].reshape(len(h), core.num_layers, -1).transpose(0, 1).contiguous()  # [layer, n, hidden]
        steps = x.unsqueeze(1 if core.batch_first else 0)
        if is_lstm:
            cell = h[:, hidden:].reshape(len(h), core.num_layers, -1).transpose(0, 1).contiguous()
            output, (state, cell) = core(steps, (state, cell))
            after = torch.cat((state.transpose(0, 1).flatten(1), cell.transpose(0, 1).flatten(1)), 1)
        else:
            output, state = core(steps, state)
            after = state.transpose(0, 1).flatten(1)
        return after, head(output[:, 0] if core.batch_first else output[0])

    return FunctionNetwork(step, torch.zeros(n_state, dtype=torch.float64), core.input_size)


def _short(row: Tensor) -> str:
    return "[" + ", ".join(f"{v:.4g}" for v in row[:6].tolist()) + (", ...]" if len(row) > 6 else "]")
