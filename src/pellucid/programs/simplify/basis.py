"""A change of coordinates of the hidden state, carried through all weights."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from pellucid.programs.networks.recurrent import RecurrentNetwork

LARGEST_WEIGHT = 1e4


def change_basis(network: RecurrentNetwork, s: Float[np.ndarray, "n n"]) -> RecurrentNetwork:
    """Return the network in coordinates h' = S h: the same outputs for the same inputs.

    The last layer of f, weight and bias, is multiplied by S; the hidden columns of the first layer of f and the first
    layer of g by the inverse of S. h_0 = 0 stays 0.
    """
    write, read = torch.from_numpy(np.array(s)), torch.from_numpy(np.linalg.inv(s))
    f, g, n = list(network.f), list(network.g), network.n_state
    first, bias = f[0]
    f[0] = torch.cat([first[:, :n] @ read, first[:, n:]], 1), bias
    last, bias = f[-1]
    f[-1] = write @ last, write @ bias
    g[0] = g[0][0] @ read, g[0][1]
    return replace(network, f=f, g=g)


def recurrent_map(network: RecurrentNetwork) -> Float[np.ndarray, "n m"]:
    """Return the product of f's weights, activations ignored: W and V side by side [n, n + i], exact for an affine f."""
    product = network.f[0][0]
    for weight, _ in network.f[1:]:
        product = weight @ product
    return product.numpy()


def readable(network: RecurrentNetwork) -> bool:
    """Say whether all weights are finite and at most 1e4: otherwise a change of basis is worth nothing."""
    weights = [tensor for part in (network.f, network.g) for layer in part for tensor in layer]
    return all(bool(w.isfinite().all()) and float(w.abs().max()) <= LARGEST_WEIGHT for w in weights if w.numel())


@torch.no_grad()
def hidden_states(network: RecurrentNetwork, xs: Float[Tensor, "n t i"]) -> Float[np.ndarray, "m s"]:
    """Return the states after every step of every sequence."""
    h, rows = network.initial(len(xs)), []
    for t in range(xs.shape[1]):
        h, _ = network.step(h, xs[:, t])
        rows.append(h)
    return torch.cat(rows).numpy()
