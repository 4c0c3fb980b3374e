"""How kernels are compiled and started, and what may keep them from running here."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any

import torch
import triton
from torch import Tensor
from triton import knobs


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


def obstacle() -> str | None:
    """Return what keeps the kernels from running on this machine, and what to do about it; None if nothing does."""
    if knobs.runtime.interpret:
        return None
    if not torch.cuda.is_available():
        return "Triton's kernels need a GPU, and PyTorch finds none (TRITON_INTERPRET=1 interprets them on the CPU, slowly)"
    return _failure()


@functools.cache
def _failure() -> str | None:
    """Return why the smallest of the kernels does not run: no C compiler, a driver or a GPU that Triton does not serve."""
    from pellucid.kernels.gpu.rows import unit_rows

    try:
        unit_rows(torch.ones(1, 1, device="cuda"))
        torch.cuda.synchronize()
    except Exception as error:  # noqa: BLE001 - compiler, linker, loader and driver each raise their own
        return f"Triton cannot build its kernels for {torch.cuda.get_device_name()}: {type(error).__name__}: {error}"
    return None
