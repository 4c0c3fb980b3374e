"""The recurrent network of the fact sheet: two perceptrons, one for the next state and one for the output."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from jaxtyping import Float
from torch import Tensor

from pellucid.core.errors import ConfigError, raise_all
from pellucid.programs.networks.shape import Shape

Layer = tuple[Tensor, Tensor]


@dataclass(eq=False)
class RecurrentNetwork:
    """h_t = f([h_{t-1}; x_t]), y_t = g(h_t), h_0 = 0, in float64; reads and writes plain numbers.

    Each layer is a weight [out, in] and a bias [out]: a = W z + b, with ReLU between the layers of one perceptron.
    """

    shape: Shape
    n_in: int
    n_out: int
    f: list[Layer]
    g: list[Layer]
    n_state: int = field(init=False)
    """Numbers that are carried from one step to the next."""

    def __post_init__(self) -> None:
        self.n_state = self.shape.hidden
        problems = []
        for part, layers, sizes in zip("fg", (self.f, self.g), self.shape.layers(self.n_in, self.n_out), strict=True):
            if len(layers) != len(sizes):
                problems.append(f"{part} has {len(layers)} layers, wanted {len(sizes)}")
                continue
            for k, ((weight, bias), (i, o)) in enumerate(zip(layers, sizes, strict=True)):
                if tuple(weight.shape) != (o, i) or tuple(bias.shape) != (o,):
                    problems.append(f"{part}.{k} is {tuple(weight.shape)} and {tuple(bias.shape)}, wanted {(o, i)} and {(o,)}")
                elif weight.dtype != torch.float64 or bias.dtype != torch.float64:
                    problems.append(f"{part}.{k} is {weight.dtype}, wanted float64")
                elif not bool(weight.isfinite().all() and bias.isfinite().all()):
                    problems.append(f"{part}.{k} holds weights that are not finite")
        raise_all(problems, ConfigError, title=f"a network of {self.shape}" if len(problems) > 1 else "")

    def initial(self, n: int) -> Float[Tensor, "n s"]:
        """Return zeros: the state before the first input."""
        return torch.zeros(n, self.n_state, dtype=torch.float64)

    @torch.no_grad()
    def step(self, h: Float[Tensor, "n s"], x: Float[Tensor, "n i"]) -> tuple[Float[Tensor, "n s"], Float[Tensor, "n o"]]:
        """Return f([h; x]) and g of it."""
        state = _perceptron(self.f, torch.cat((h, x), 1))
        return state, _perceptron(self.g, state)

    def tensors(self) -> dict[str, Tensor]:
        """Return every weight and bias by name: f.0.weight, f.0.bias, ..., g.0.weight, ..."""
        named = {}
        for part, layers in (("f", self.f), ("g", self.g)):
            for k, (weight, bias) in enumerate(layers):
                named[f"{part}.{k}.weight"], named[f"{part}.{k}.bias"] = weight, bias
        return named


def _perceptron(layers: list[Layer], z: Tensor) -> Tensor:
    for k, (weight, bias) in enumerate(layers):
        if k:
            z = z.relu()
        z = torch.addmm(bias, z, weight.T)
    return z
