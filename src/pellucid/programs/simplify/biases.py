"""Biases that f never reads back are moved from f to g; weights near integers are rounded."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from pellucid.programs.networks.recurrent import Layer, RecurrentNetwork

BIAS_TOLERANCE, INTEGER_TOLERANCE = 0.1, 0.01


def debiased(network: RecurrentNetwork, tolerance: float = BIAS_TOLERANCE) -> RecurrentNetwork:
    """Return the network with the part of f's last bias that f does not read (the null space of its hidden columns) in g.

    Exact where the singular values counted as 0, those below the tolerance, are 0.
    """
    read = network.f[0][0][:, : network.n_state].numpy()
    _, singular, rows = np.linalg.svd(read)
    full = np.zeros(len(rows))
    full[: len(singular)] = singular
    unread = rows[full < tolerance]
    last, bias = network.f[-1]
    moved = torch.from_numpy(unread.T @ (unread @ bias.numpy()))
    f, g = list(network.f), list(network.g)
    f[-1] = last, bias - moved
    g[0] = g[0][0], g[0][1] + g[0][0] @ moved
    return replace(network, f=f, g=g)


def quantised(network: RecurrentNetwork, tolerance: float = INTEGER_TOLERANCE) -> RecurrentNetwork:
    """Return the network with every weight and bias within the tolerance of an integer rounded to it. Not exact."""

    def near(values: Tensor) -> Tensor:
        return torch.where((values - values.round()).abs() <= tolerance, values.round(), values)

    def layers(part: list[Layer]) -> list[Layer]:
        return [(near(weight), near(bias)) for weight, bias in part]

    return replace(network, f=layers(network.f), g=layers(network.g))


def share_whole(network: RecurrentNetwork) -> float:
    """Return the share of weights and biases that are integers."""
    flat = torch.cat([tensor.reshape(-1) for part in (network.f, network.g) for layer in part for tensor in layer])
    return float((flat == flat.round()).double().mean())
