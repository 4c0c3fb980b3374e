"""How kernels are compiled and started."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import torch
import triton
from torch import Tensor


def kernel(function: Callable[..., Any]) -> Any:
    """Compile a function with Triton at its first call; wrappers that check annotations come off."""
    return triton.jit(inspect.unwrap(function))


def start(function: Any, grid: tuple[int, ...], where: Tensor, *arguments: Any, **constants: Any) -> None:
    """Run a kernel on the device of `where`, once for each place of the grid; an empty grid runs nothing."""
    if 0 in grid:
        return
    with torch.cuda.device_of(where):
        function[grid](*arguments, **constants)


def block(numbers: int, most: int) -> int:
    """Return the least power of two that covers so many numbers, `most` at most."""
    return min(triton.next_power_of_2(max(1, numbers)), most)
