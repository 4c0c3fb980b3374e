"""Affine recurrent networks from data by least squares: impulse response first, then the smallest system that has it."""

from __future__ import annotations

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from pellucid.programs.networks.recurrent import RecurrentNetwork
from pellucid.programs.networks.shape import Shape

CONDITION = 1e-9
"""Singular values below this part of the largest count as zero."""


def impulse_response(xs: Int64[Tensor, "n t i"], ys: Int64[Tensor, "n t o"]) -> tuple[Float[Tensor, "t o u"], float]:
    """Fit y_t = sum_k M_k x_{t-k} + b_t and return G_k = [M_k, m_k] and the largest error of the fit at any step.

    M_k comes from least squares of the last output on all inputs; b_t is the mean of what is left at step t, and
    m_k = b_{k+1} - b_k (b_0 = 0) is the response to a constant input of 1 that begins with the sequence.
    """
    n, length, n_in = xs.shape
    inputs, outputs = xs.double(), ys.double()
    design = torch.cat((inputs.flip(1).reshape(n, -1), torch.ones(n, 1, dtype=torch.float64)), 1)
    solution = torch.linalg.lstsq(design, outputs[:, -1], driver="gelsd").solution  # [t * i + 1, o]
    kernel = solution[:-1].view(length, n_in, -1)  # M_k transposed, k = 0..t-1
    free = torch.stack([outputs[:, t] - _response(inputs[:, : t + 1], kernel) for t in range(length)], 1)  # [n, t, o]
    offset = free.mean(0)
    step = offset.diff(dim=0, prepend=torch.zeros(1, offset.shape[1], dtype=torch.float64))
    error = (free - offset).abs().max().item()
    return torch.cat((kernel.transpose(1, 2), step.unsqueeze(2)), 2), error


def _response(inputs: Tensor, kernel: Tensor) -> Tensor:
    """sum_k M_k x_{t-k} at the last step of `inputs` [n, t, i]."""
    lags = inputs.flip(1)
    return torch.einsum("nki,kio->no", lags, kernel[: lags.shape[1]])


def realisations(response: Float[Tensor, "t o u"], largest: int) -> list[RecurrentNetwork]:
    """Return affine networks of hidden size 1..largest for an impulse response, smaller first (Ho & Kalman 1966).

    The Hankel matrix of G_{a+b} is O R with O = [C; CW; ...] and R = [V, WV, ...]; its truncated singular value
    decomposition gives a system of each size, exact from the matrix's rank on. The constant d of the output is free in
    m_0 alone, so each size is also tried with the d that makes that entry follow from the others, which can save one
    number of the state.
    """
    length, n_out, n_u = response.shape
    rows = max(length // 2, 1)
    columns = max(length - rows, 1)
    constants = [torch.zeros(n_out, dtype=torch.float64), _dependent_constant(response, rows, columns)]
    networks = []
    for size in range(1, min(largest, rows * n_out, columns * n_u) + 1):
        for constant in constants:
            networks.append(_realised(response, constant, size, rows, columns))
    return networks


def _hankel(response: Tensor, rows: int, columns: int, shift: int) -> Tensor:
    """Return the matrix of blocks G_{a + b + shift}, a below `rows` and b below `columns`; beyond the end they are zero."""
    length, n_out, n_u = response.shape
    columns = max(columns, 1)
    blocks = torch.zeros(rows, columns, n_out, n_u, dtype=torch.float64)
    for a in range(rows):
        for b in range(columns):
            if a + b + shift < length:
                blocks[a, b] = response[a + b + shift]
    return blocks.permute(0, 2, 1, 3).reshape(rows * n_out, columns * n_u)


def _dependent_constant(response: Tensor, rows: int, columns: int) -> Tensor:
    """Return d for which the entry m_0 - d of the Hankel matrix is what the rest implies: r B^+ c (Schur complement)."""
    n_out, n_u = response.shape[1:]
    hankel = _hankel(response, rows, columns, 0)
    others = [c for c in range(hankel.shape[1]) if c != n_u - 1]
    if hankel.shape[0] == n_out or not others:
        return hankel[:n_out, n_u - 1]
    rest = torch.linalg.pinv(hankel[n_out:][:, others], rtol=1e-7)
    return hankel[:n_out, n_u - 1] - hankel[:n_out][:, others] @ rest @ hankel[n_out:, n_u - 1]


def _realised(response: Tensor, constant: Tensor, size: int, rows: int, columns: int) -> RecurrentNetwork:
    n_out, n_u = response.shape[1:]
    shifted = response.clone()
    shifted[0, :, -1] -= constant
    left, values, right = torch.linalg.svd(_hankel(shifted, rows, columns, 0), full_matrices=False)
    size = min(size, len(values))
    keep = values[:size] > CONDITION * values[0].clamp(min=1e-300)
    root = torch.where(keep, values[:size], 0).sqrt()
    inverse = torch.where(keep, 1 / root.clamp(min=1e-300), 0)
    observe, reach = left[:, :size] * root, root.unsqueeze(1) * right[:size]
    recur = inverse.unsqueeze(1) * (left[:, :size].T @ _hankel(shifted, rows, columns, 1) @ right[:size].T) * inverse
    f = (torch.cat((recur, reach[:, : n_u - 1]), 1).contiguous(), reach[:, n_u - 1].clone())
    g = (observe[:n_out].clone(), constant.clone())
    return RecurrentNetwork(Shape(size), n_u - 1, n_out, [f], [g])
