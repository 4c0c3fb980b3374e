"""Tasks with a carry, a remainder, or a position and a velocity."""

from __future__ import annotations

import torch
from torch import Tensor

from pellucid.programs.tasks.rule import Batched, Plain


def digit_addition(base: int) -> tuple[Plain, Batched]:
    """Add two numbers digit by digit, least significant first: y_t = (p + q + c) mod base, c' = (p + q + c) // base."""

    def plain(xs: list[tuple[int, int]]) -> list[int]:
        carry, ys = 0, []
        for p, q in xs:
            ys.append((p + q + carry) % base)
            carry = (p + q + carry) // base
        return ys

    def batched(xs: Tensor) -> Tensor:
        carry, ys = torch.zeros(len(xs), dtype=torch.int64), []
        for t in range(xs.shape[1]):
            total = xs[:, t].sum(1) + carry
            ys.append(total % base)
            carry = total // base
        return torch.stack(ys, 1) if ys else xs[:, :, 0]

    return plain, batched


def long_division(divisor: int) -> tuple[Plain, Batched]:
    """Quotient bits of a dividend given most significant bit first: v = 2 r + x, y = v // divisor, r' = v mod divisor."""

    def plain(xs: list[int]) -> list[int]:
        r, ys = 0, []
        for x in xs:
            ys.append((2 * r + x) // divisor)
            r = (2 * r + x) % divisor
        return ys

    def batched(xs: Tensor) -> Tensor:
        remainder, ys = torch.zeros(len(xs), dtype=torch.int64), []
        for t in range(xs.shape[1]):
            value = 2 * remainder + xs[:, t, 0]
            ys.append((value >= divisor).long())
            remainder = torch.where(value >= divisor, value - divisor, value)
        return torch.stack(ys, 1) if ys else xs[:, :, 0]

    return plain, batched


def dithering(divisor: int) -> tuple[Plain, Batched]:
    """y_t = S_t // divisor - S_{t-1} // divisor with S_t = x_1 + ... + x_t."""

    def plain(xs: list[int]) -> list[int]:
        r, ys = 0, []
        for x in xs:
            ys.append(int(r + x >= divisor))
            r = (r + x) % divisor
        return ys

    def batched(xs: Tensor) -> Tensor:
        whole = xs[:, :, 0].cumsum(1) // divisor
        return whole.diff(dim=1, prepend=torch.zeros(len(xs), 1, dtype=torch.int64))

    return plain, batched


def newton(spring: int = 0, gravity: int = 0) -> tuple[Plain, Batched]:
    """v' = v + x - gravity - spring y, y' = y + v', from rest at 0."""

    def plain(xs: list[int]) -> list[int]:
        v, y, ys = 0, 0, []
        for x in xs:
            v += x - gravity - spring * y
            y += v
            ys.append(y)
        return ys

    def batched(xs: Tensor) -> Tensor:
        """Sum of impulse responses k_0, k_1, ...: y_t = sum_d k_d (x_{t-d} - gravity)."""
        length = xs.shape[1]
        response = torch.tensor(plain_response(length), dtype=torch.int64)
        force = xs[:, :, 0] - gravity
        lag = torch.arange(length).view(-1, 1) - torch.arange(length)  # [t, source]
        kernel = torch.where(lag >= 0, response[lag.clamp(min=0)], 0)
        return (force.unsqueeze(1) * kernel).sum(2)

    def plain_response(length: int) -> list[int]:
        v, y, ys = 0, 0, []
        for t in range(length):
            v += (t == 0) - spring * y
            y += v
            ys.append(y)
        return ys

    return plain, batched


def newton_magnetic() -> tuple[Plain, Batched]:
    """Two components: v' = v + f + (-v_y, v_x), p' = p + v', from rest at 0."""

    def plain(xs: list[tuple[int, int]]) -> list[tuple[int, int]]:
        vx = vy = px = py = 0
        ys = []
        for fx, fy in xs:
            vx, vy = vx + fx - vy, vy + fy + vx
            px, py = px + vx, py + vy
            ys.append((px, py))
        return ys

    def batched(xs: Tensor) -> Tensor:
        turn = torch.tensor([[1, 1], [-1, 1]])  # v' = v turn + f, rows are vectors
        velocity, velocities = torch.zeros(len(xs), 2, dtype=torch.int64), []
        for t in range(xs.shape[1]):
            velocity = velocity @ turn + xs[:, t]
            velocities.append(velocity)
        return torch.stack(velocities, 1).cumsum(1) if velocities else xs

    return plain, batched
