"""Tasks that count or compare everything seen so far."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from itertools import accumulate

import torch
from torch import Tensor

from pellucid.programs.tasks.rule import Batched, Plain


def running_sum(of_int: Callable[[int], int], of_tensor: Callable[[Tensor], Tensor], mod: int = 0) -> tuple[Plain, Batched]:
    """y_t = f(x_1) + ... + f(x_t), modulo `mod` unless that is 0."""

    def plain(xs: list[int]) -> list[int]:
        sums = list(accumulate(of_int(x) for x in xs))
        return [s % mod for s in sums] if mod else sums

    def batched(xs: Tensor) -> Tensor:
        sums = of_tensor(xs[:, :, 0]).long().cumsum(1)
        return sums % mod if mod else sums

    return plain, batched


def smallest() -> tuple[Plain, Batched]:
    """y_t = min(x_1..x_t)."""
    return lambda xs: list(accumulate(xs, min)), lambda xs: xs[:, :, 0].cummin(1).values


def largest() -> tuple[Plain, Batched]:
    """y_t = max(x_1..x_t)."""
    return lambda xs: list(accumulate(xs, max)), lambda xs: xs[:, :, 0].cummax(1).values


def majority(n_values: int) -> tuple[Plain, Batched]:
    """y_t = the value seen most often; among those tied, the smallest."""

    def plain(xs: list[int]) -> list[int]:
        count: Counter[int] = Counter()
        ys = []
        for x in xs:
            count[x] += 1
            ys.append(min(value for value in count if count[value] == max(count.values())))
        return ys

    def batched(xs: Tensor) -> Tensor:
        counts = (xs == torch.arange(n_values)).long().cumsum(1)  # [n, t, value]
        return (counts * n_values - torch.arange(n_values)).argmax(-1)  # no ties are left

    return plain, batched


def dot_product_mod2() -> tuple[Plain, Batched]:
    """y_t = (p_1 q_1 + ... + p_t q_t) mod 2."""
    return (
        lambda xs: [s % 2 for s in accumulate(p * q for p, q in xs)],
        lambda xs: xs.prod(2).cumsum(1) % 2,
    )


def index_parity() -> tuple[Plain, Batched]:
    """y_t = (t - 1) mod 2, whatever the input."""
    return lambda xs: [t % 2 for t in range(len(xs))], lambda xs: (torch.arange(xs.shape[1]) % 2).repeat(len(xs), 1)


def balanced_parenthesis() -> tuple[Plain, Batched]:
    """y_t = 1 if the prefix is balanced, 0 opening and 1 closing."""

    def plain(xs: list[int]) -> list[int]:
        depth, ys = 0, []
        for x in xs:
            depth = -1 if depth < 0 else depth + (1 if x == 0 else -1)
            ys.append(int(depth == 0))
        return ys

    def batched(xs: Tensor) -> Tensor:
        depth = (1 - 2 * xs[:, :, 0]).cumsum(1)
        return ((depth == 0) & (depth.cummin(1).values >= 0)).long()

    return plain, batched


def palindrome() -> tuple[Plain, Batched]:
    """y_t = 1 if the prefix reads the same backwards."""

    def batched(xs: Tensor) -> Tensor:
        bits = xs[:, :, 0]
        same = [(bits[:, : t + 1] == bits[:, : t + 1].flip(1)).all(1) for t in range(bits.shape[1])]
        return torch.stack(same, 1).long()

    return lambda xs: [int(xs[: t + 1] == xs[: t + 1][::-1]) for t in range(len(xs))], batched


def palindrome_prefixes(n: int, length: int, generator: torch.Generator | None = None) -> Tensor:
    """Return bits [n, t, 1] that begin with a palindrome of a length drawn uniformly from 2..t; the rest is uniform."""
    bits = torch.randint(0, 2, (n, length), generator=generator)
    if length < 2:
        return bits.unsqueeze(-1)
    size = torch.randint(2, length + 1, (n, 1), generator=generator)
    position = torch.arange(length)
    mirrored = size - 1 - position
    source = torch.where((position < size) & (mirrored < position), mirrored, position)
    return bits.gather(1, source).unsqueeze(-1)
