"""The chunk of `kernels.divergence` compiled for the CPU: float32 a row is read three times while it is in cache."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from numba import prange
from torch import Tensor

from pellucid.kernels.compiling import FAST, compiled, parallel

_LEAST, _MOST = np.float32(-87.3), np.float32(88)
_LOG2E, _HALF, _ONE = np.float32(1.4426950408889634), np.float32(0.5), np.float32(1)
_LN2_HIGH, _LN2_LOW = np.float32(0.693359375), np.float32(-2.12194440e-4)
"""ln 2 in two parts: n times the first is exact for every n that occurs."""
_C2, _C3, _C4, _C5, _C6, _C7 = (np.float32(1 / d) for d in (2, 6, 24, 120, 720, 5040))

SUMMED = 512
"""Numbers summed in float32; the sums of such blocks are added in float64, or a long row loses its many small terms."""


def log_softmax(logits: Float[Tensor, "c v"]) -> Float[Tensor, "c v"]:
    """Return the log-probabilities of each row."""
    out = torch.empty(logits.shape)
    _log_softmax(logits.contiguous().numpy(), out.numpy())
    return out


def forward_kl(log_p: Float[Tensor, "c v"], logits: Float[Tensor, "c v"]) -> tuple[Float[Tensor, " c"], Float[Tensor, "c v"]]:
    """Return KL(p || q) of each row, q = softmax(logits), and its gradient q - p with respect to the logits."""
    kl, slope = torch.empty(len(logits)), torch.empty(logits.shape)
    _forward(log_p.contiguous().numpy(), logits.contiguous().numpy(), kl.numpy(), slope.numpy())
    return kl, slope


@compiled()
def _exp(x: Any) -> Any:
    """e^x in float32 to about 1e-7, in a form that vector units do many of at once; 0 below the normal numbers, NaN stays.

    e^x = 2^n e^r with n = round(x / ln 2), |r| <= ln 2 / 2, and the Taylor polynomial of e^r (its error is under 1e-8 there).
    """
    inside = min(max(x, _LEAST), _MOST)
    n = np.floor(inside * _LOG2E + _HALF)
    r = (inside - n * _LN2_HIGH) - n * _LN2_LOW
    e = _C7
    e = e * r + _C6
    e = e * r + _C5
    e = e * r + _C4
    e = e * r + _C3
    e = e * r + _C2
    e = e * r + _ONE
    e = e * r + _ONE
    power = np.int32((np.int32(n) + np.int32(127)) << np.int32(23)).view(np.float32)
    y = e * power
    if x < _LEAST:
        y = np.float32(0)
    if x != x:
        y = x
    return y


@parallel(fastmath=FAST)
def _log_softmax(logits: Any, out: Any) -> None:
    n, v = logits.shape
    for i in prange(n):
        row, to = logits[i], out[i]
        most = np.float32(-np.inf)
        for j in range(v):
            most = max(most, row[j])
        total: Any = 0.0
        for start in range(0, v, SUMMED):
            part = np.float32(0)
            for j in range(start, min(start + SUMMED, v)):
                to[j] = row[j] - most
                part += _exp(to[j])
            total += part
        rest = np.float32(np.log(total))  # most + rest as one number would err alike in the whole row, which a KL keeps
        for j in range(v):
            to[j] -= rest


@parallel(fastmath=FAST)
def _forward(log_p: Any, logits: Any, kl: Any, slope: Any) -> None:
    """KL = sum_v p_v (log p_v - l_v) + log sum_v e^l_v: no log q is needed, and each exponential is taken once."""
    n, v = logits.shape
    for i in prange(n):
        row, target, to = logits[i], log_p[i], slope[i]
        p = np.empty(v, np.float32)
        most = np.float32(-np.inf)
        for j in range(v):
            most = max(most, row[j])
        total: Any = 0.0
        gap: Any = 0.0
        for start in range(0, v, SUMMED):
            part, part_gap = np.float32(0), np.float32(0)
            for j in range(start, min(start + SUMMED, v)):
                shifted = row[j] - most
                p[j] = _exp(target[j])
                part_gap += p[j] * (target[j] - shifted)
                to[j] = _exp(shifted)
                part += to[j]
            total += part
            gap += part_gap
        kl[i] = gap + np.log(total)
        scale = np.float32(1 / total)
        for j in range(v):
            to[j] = to[j] * scale - p[j]
