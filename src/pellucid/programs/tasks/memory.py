"""Tasks that look at the last few inputs, or at the current one only."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import torch
from torch import Tensor

from pellucid.programs.tasks.rule import Batched, Plain


def delayed(xs: Tensor, k: int) -> Tensor:
    """Return x_{t-k} for every t of [n, t]; inputs before the start count as 0."""
    length = xs.shape[1]
    shifted = torch.zeros_like(xs)
    if k < length:
        shifted[:, k:] = xs[:, : length - k]
    return shifted


def pointwise(of_int: Callable[[int], int], of_tensor: Callable[[Tensor], Tensor]) -> tuple[Plain, Batched]:
    """y_t depends on x_t alone."""
    return lambda xs: [of_int(x) for x in xs], lambda xs: of_tensor(xs[:, :, 0]).long()


def pointwise_pairs(
    of_ints: Callable[[int, int], int], of_tensors: Callable[[Tensor, Tensor], Tensor]
) -> tuple[Plain, Batched]:
    """y_t depends on the two numbers of step t alone."""
    return lambda xs: [of_ints(p, q) for p, q in xs], lambda xs: of_tensors(xs[:, :, 0], xs[:, :, 1]).long()


def previous(k: int) -> tuple[Plain, Batched]:
    """y_t = x_{t-k}."""
    return lambda xs: ([0] * k + xs)[: len(xs)], lambda xs: delayed(xs[:, :, 0], k)


def sum_last(k: int) -> tuple[Plain, Batched]:
    """y_t = x_{t-k+1} + ... + x_t."""

    def batched(xs: Tensor) -> Tensor:
        return torch.stack([delayed(xs[:, :, 0], d) for d in range(k)]).sum(0)

    return lambda xs: [sum(xs[max(0, t - k + 1) : t + 1]) for t in range(len(xs))], batched


def parity_last(k: int) -> tuple[Plain, Batched]:
    """y_t = (x_{t-k+1} + ... + x_t) mod 2."""
    plain, batched = sum_last(k)
    return lambda xs: [y % 2 for y in plain(xs)], lambda xs: batched(xs) % 2


def of_last_two(of_ints: Callable[[int, int], int], of_tensors: Callable[[Tensor, Tensor], Tensor]) -> tuple[Plain, Batched]:
    """y_t depends on (x_{t-1}, x_t), with x_0 = 0."""
    return (
        lambda xs: [of_ints(a, b) for a, b in zip([0, *xs], xs, strict=False)],
        lambda xs: of_tensors(delayed(xs[:, :, 0], 1), xs[:, :, 0]).long(),
    )


def alternating_last(k: int) -> tuple[Plain, Batched]:
    """y_t = 1 if each of the last k bits differs from the one before it."""

    def plain(xs: list[int]) -> list[int]:
        padded = [0] * (k - 1) + xs
        windows = [padded[t : t + k] for t in range(len(xs))]
        return [int(all(a != b for a, b in itertools.pairwise(w))) for w in windows]

    def batched(xs: Tensor) -> Tensor:
        bits = [delayed(xs[:, :, 0], d) for d in range(k)]
        return torch.stack([a != b for a, b in itertools.pairwise(bits)]).all(0).long()

    return plain, batched
