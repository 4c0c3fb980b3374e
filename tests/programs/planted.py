"""Planted networks: exact integer machines behind a random change of coordinates, with a little noise."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import torch
from torch import Tensor

from pellucid.programs.tasks.base import InputDomain
from pellucid.programs.tasks.registry import TASKS
from pellucid.programs.tasks.rule import Rule

Step = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]
"""From states [n, z] and inputs [n, i], integers, to next states [n, z] and outputs [n] or [n, o]."""
Machine = tuple[list[int], Step]
"""Start state and step."""


class Planted:
    """A step network that decodes its state, steps the machine, and encodes again: h = M (z, 1, sin z) + noise."""

    def __init__(self, machine: Machine, n_in: int, n_out: int, seed: int = 0, noise: float = 0.02) -> None:
        start, self.machine = machine
        generator = torch.Generator().manual_seed(seed)
        self.start, self.n_z = torch.tensor(start, dtype=torch.int64), len(start)
        self.n_state, self.n_in, self.n_out, self.noise = len(start) + 2, n_in, n_out, noise
        square = torch.randn(self.n_state, self.n_state, generator=generator, dtype=torch.float64)
        scale = 0.5 + torch.rand(self.n_state, generator=generator, dtype=torch.float64)
        self.m = torch.linalg.qr(square)[0] * scale
        self.inverse = torch.linalg.inv(self.m)

    def _encode(self, z: Tensor) -> Tensor:
        total = z.double().sum(1, keepdim=True)
        h = torch.cat([z.double(), torch.ones_like(total), 0.3 * torch.sin(total)], 1) @ self.m.T
        return h + self.noise * torch.sin(1000 * h.flip(1))

    def initial(self, n: int) -> Tensor:
        return self._encode(self.start.expand(n, -1))

    def step(self, h: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
        z = (h @ self.inverse.T)[:, : self.n_z].round().long()
        z, y = self.machine(z, x.round().long())
        y = y.double().reshape(len(x), -1)
        return self._encode(z), y + self.noise * torch.sin(777 * h.sum(1, keepdim=True) + y)


def scalar(update: Callable, output: Callable | None = None, start: int = 0) -> Machine:
    """A machine with one number s: s' = update(s, x), y = output(s, x), or y = s'."""

    def step(z: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
        after = update(z[:, 0], x).long()
        return after[:, None], after if output is None else output(z[:, 0], x).long()

    return [start], step


def window(k: int, output: Callable) -> Machine:
    """A machine that keeps the last k inputs, 0 before the start; y = output([x_t, x_{t-1}, ...])."""

    def step(z: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
        seen = [x[:, 0], *z.T]
        return torch.stack(seen[:k], 1) if k else z, output(seen).long()

    return [0] * k, step


def several(start: list[int], update: Callable) -> Machine:
    """A machine with several numbers: (new numbers, output) = update(*numbers, x)."""

    def step(z: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
        after, y = update(*z.T, x)
        return torch.stack(after, 1), y

    return start, step


def rule_of(machine: Machine, domain: InputDomain, name: str = "planted", out_width: int = 1) -> Rule:
    """The task that a machine does."""
    start, step = machine

    def batched(xs: Tensor) -> Tensor:
        z, ys = torch.tensor(start, dtype=torch.int64).expand(len(xs), -1), []
        for t in range(xs.shape[1]):
            z, y = step(z, xs[:, t])
            ys.append(y.long().reshape(len(xs), -1))
        return torch.stack(ys, 1)

    def plain(xs: list) -> list:
        ys = batched(torch.tensor(xs).reshape(1, len(xs), -1))[0].tolist()
        return [tuple(y) if out_width > 1 else y[0] for y in ys]

    return Rule(name, domain, plain, batched, out_width)


def _carry(base: int) -> Machine:
    return scalar(lambda s, x: (x.sum(1) + s) // base, lambda s, x: (x.sum(1) + s) % base)


def _division(n: int) -> Machine:
    return scalar(lambda s, x: (2 * s + x[:, 0]) % n, lambda s, x: (2 * s + x[:, 0]) // n)


def _majority(n: int) -> Machine:
    def step(z: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
        z = z + (x == torch.arange(n)).long()
        return z, (z * n - torch.arange(n)).argmax(1)

    return [0] * n, step


def _palindrome(f: Tensor, r: Tensor, w: Tensor, x: Tensor) -> tuple[list[Tensor], Tensor]:
    f, r = f + w * x[:, 0], 2 * r + x[:, 0]
    return [f, r, 2 * w], f == r


def _newton(spring: int, gravity: int) -> Machine:
    def update(v: Tensor, y: Tensor, x: Tensor) -> tuple[list[Tensor], Tensor]:
        v = v + x[:, 0] - gravity - spring * y
        return [v, y + v], y + v

    return several([0, 0], update)


def _magnetic(vx: Tensor, vy: Tensor, px: Tensor, py: Tensor, x: Tensor) -> tuple[list[Tensor], Tensor]:
    vx, vy = vx + x[:, 0] - vy, vy + x[:, 1] + vx
    return [vx, vy, px + vx, py + vy], torch.stack([px + vx, py + vy], 1)


def _depth(s: Tensor, x: Tensor) -> Tensor:
    return torch.where(s < 0, -1, s + 1 - 2 * x[:, 0])


def _alternating(seen: list[Tensor], k: int) -> Tensor:
    return torch.stack([a != b for a, b in pairwise(seen[:k])]).all(0)


def mips_machines() -> dict[str, Machine]:
    """Machines of the 62 tasks, by name, written apart from the library's rules."""
    m: dict[str, Machine] = {"Binary_Addition": _carry(2)}
    m |= {f"Base_{b}_Addition": _carry(b) for b in range(3, 8)}
    m["Bitwise_Xor"] = scalar(lambda s, x: s, lambda s, x: x[:, 0] ^ x[:, 1])
    m["Bitwise_Or"] = scalar(lambda s, x: s, lambda s, x: x[:, 0] | x[:, 1])
    m["Bitwise_And"] = scalar(lambda s, x: s, lambda s, x: x[:, 0] & x[:, 1])
    m["Bitwise_Not"] = window(0, lambda seen: 1 - seen[0])
    m |= {f"Parity_Last{k}": window(k - 1, lambda seen: sum(seen) % 2) for k in (2, 3, 4)}
    m["Parity_All"] = scalar(lambda s, x: (s + x[:, 0]) % 2)
    m["Parity_Zeros"] = scalar(lambda s, x: (s + 1 - x[:, 0]) % 2)
    m["Evens_Counter"] = scalar(lambda s, x: s + 1 - x[:, 0] % 2)
    m["Sum_All"] = scalar(lambda s, x: s + x[:, 0])
    m |= {f"Sum_Last{k}": window(k - 1, sum) for k in range(2, 8)}
    m["Current_Number"] = window(0, lambda seen: seen[0])
    m |= {f"Prev{k}": window(k, lambda seen: seen[-1]) for k in range(1, 6)}
    m["Previous_Equals_Current"] = window(1, lambda seen: seen[0] == seen[1])
    m["Diff_Last2"] = window(1, lambda seen: seen[0] - seen[1])
    m["Abs_Diff"] = window(1, lambda seen: (seen[0] - seen[1]).abs())
    m["Abs_Current"] = window(0, lambda seen: seen[0].abs())
    m["Diff_Abs_Values"] = window(1, lambda seen: seen[0].abs() - seen[1].abs())
    m["Min_Seen"] = scalar(lambda s, x: torch.minimum(s, x[:, 0]), start=9)
    m["Max_Seen"] = scalar(lambda s, x: torch.maximum(s, x[:, 0]))
    m |= {f"Majority_0_{n - 1}": _majority(n) for n in (2, 3, 4)}
    m["Evens_Detector"] = window(0, lambda seen: seen[0] % 2 == 0)
    m["Perfect_Square_Detector"] = window(0, lambda seen: torch.isin(seen[0], torch.tensor([0, 1, 4, 9, 16])))
    m["Bit_Palindrome"] = several([0, 0, 1], _palindrome)
    m["Balanced_Parenthesis"] = scalar(_depth, lambda s, x: _depth(s, x) == 0)
    m["Parity_Bits_Mod2"] = scalar(lambda s, x: 1 - s, lambda s, x: s)
    m |= {f"Alternating_Last{k}": window(k - 1, lambda seen, k=k: _alternating(seen, k)) for k in (3, 4)}
    m["Bit_Shift_Right"] = window(1, lambda seen: seen[1])
    m["Bit_Dot_Prod_Mod2"] = scalar(lambda s, x: (s + x[:, 0] * x[:, 1]) % 2)
    m |= {f"Div_{n}": _division(n) for n in (3, 5, 7)}
    m |= {f"Add_Mod_{n}": scalar(lambda s, x, n=n: (s + x[:, 0]) % n) for n in range(3, 9)}
    m["Dithering"] = scalar(lambda s, x: (s + x[:, 0]) % 15, lambda s, x: (s + x[:, 0]) // 15)
    m["Newton_Freebody"], m["Newton_Gravity"], m["Newton_Spring"] = _newton(0, 0), _newton(0, 1), _newton(1, 0)
    m["Newton_Magnetic"] = several([0, 0, 0, 0], _magnetic)
    return m


def new_tasks() -> dict[str, tuple[Machine, InputDomain]]:
    """Tasks of the same kind that are not among the 62."""
    bits, digits = InputDomain(0, 1), InputDomain(0, 9)
    successors = torch.tensor([[1, 2, 0], [3, 1, 4], [5, 0, 2], [2, 4, 1], [0, 5, 3], [4, 3, 5]])
    marks = torch.tensor([[0, 1, 2], [2, 2, 0], [1, 0, 1], [0, 2, 1], [1, 1, 0], [2, 0, 0]])
    return {
        "base 8 addition": (_carry(8), InputDomain(0, 7, 2)),
        "base 10 addition": (_carry(10), InputDomain(0, 9, 2)),
        "division by 9": (_division(9), bits),
        "base 3 division by 5": (
            scalar(lambda s, x: (3 * s + x[:, 0]) % 5, lambda s, x: (3 * s + x[:, 0]) // 5),
            InputDomain(0, 2),
        ),
        "parity of the last 5": (window(4, lambda seen: sum(seen) % 2), bits),
        "sum of the last 2 differences": (window(2, lambda seen: seen[0] - seen[2]), InputDomain(-20, 20)),
        "max of the last 2": (window(1, lambda seen: torch.maximum(seen[0], seen[1])), InputDomain(0, 50)),
        "min of the last 3": (
            window(2, lambda seen: torch.minimum(torch.minimum(seen[0], seen[1]), seen[2])),
            InputDomain(0, 20),
        ),
        "count of threes mod 4": (scalar(lambda s, x: (s + (x[:, 0] == 3).long()) % 4), digits),
        "run length of ones": (scalar(lambda s, x: (s + 1) * x[:, 0]), bits),
        "x_t - 2 x_{t-2}": (window(2, lambda seen: seen[0] - 2 * seen[2]), InputDomain(-30, 30)),
        "counter from 0 to 4": (scalar(lambda s, x: torch.clamp(s + 2 * x[:, 0] - 1, 0, 4)), bits),
        "pattern 0110": (window(3, lambda seen: (seen[0] + seen[3] == 0) & (seen[1] + seen[2] == 2)), bits),
        "addition mod 9": (scalar(lambda s, x: (s + x[:, 0]) % 9), InputDomain(0, 8)),
        "sum of squares mod 5": (scalar(lambda s, x: (s + x[:, 0] ** 2) % 5), InputDomain(0, 4)),
        "alternating sum": (
            several([0, 1], lambda s, g, x: ([s + g * x[:, 0], -g], s + g * x[:, 0])),
            digits,
        ),
        "range so far": (
            several(
                [0, 9],
                lambda a, b, x: (
                    [torch.maximum(a, x[:, 0]), torch.minimum(b, x[:, 0])],
                    torch.maximum(a, x[:, 0]) - torch.minimum(b, x[:, 0]),
                ),
            ),
            digits,
        ),
        "toggle on 5": (scalar(lambda s, x: (s + (x[:, 0] == 5).long()) % 2), digits),
        "sum of absolute values": (scalar(lambda s, x: s + x[:, 0].abs()), InputDomain(-10, 10)),
        "latch": (scalar(lambda s, x: torch.where(x[:, 0] == 2, s, x[:, 0])), InputDomain(0, 2)),
        "majority of the last 3": (window(2, lambda seen: sum(seen) >= 2), bits),
        "driven Fibonacci": (
            several([0, 0], lambda a, b, x: ([a + b + x[:, 0], a], a + b + x[:, 0])),
            InputDomain(-5, 5),
        ),
        "base 4 subtraction": (
            scalar(lambda s, x: (x[:, 0] - x[:, 1] - s < 0).long(), lambda s, x: (x[:, 0] - x[:, 1] - s) % 4),
            InputDomain(0, 3, 2),
        ),
        "dithering by 7": (scalar(lambda s, x: (s + x[:, 0]) % 7, lambda s, x: (s + x[:, 0]) // 7), digits),
        "an automaton without a pattern": (
            scalar(lambda s, x: successors[s, x[:, 0]], lambda s, x: marks[s, x[:, 0]]),
            InputDomain(0, 2),
        ),
        "median of the last 3": (window(2, lambda seen: torch.stack(seen[:3], 1).median(1).values), digits),
        "local peak": (window(2, lambda seen: (seen[1] > seen[0]) & (seen[1] > seen[2])), digits),
        "sum cut at 0": (scalar(lambda s, x: (s + x[:, 0]).clamp(min=0)), InputDomain(-10, 10)),
    }


def planted_task(name: str, noise: float = 0.02) -> tuple[Planted, Rule]:
    """A planted network of one of the 62 tasks, and the task as the library defines it."""
    task = TASKS[name]
    return Planted(mips_machines()[name], task.domain.width, task.out_width, noise=noise), task


def planted_new(name: str, noise: float = 0.02) -> tuple[Planted, Rule]:
    """A planted network of one of the new tasks, and its task."""
    machine, domain = new_tasks()[name]
    return Planted(machine, domain.width, 1, seed=1, noise=noise), rule_of(machine, domain, name)
