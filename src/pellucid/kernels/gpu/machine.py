"""Whether the kernels can run on this machine."""

from __future__ import annotations

import functools

import torch
from triton import JITFunction

from pellucid.kernels.gpu.rows import _unit_rows, unit_rows


def obstacle() -> str | None:
    """Return what keeps the kernels from running on this machine, and what to do about it; None if nothing does."""
    if interpreted():
        return None
    if not torch.cuda.is_available():
        return "Triton's kernels need a GPU, and PyTorch finds none (TRITON_INTERPRET=1 interprets them on the CPU, slowly)"
    return _failure()


def interpreted() -> bool:
    """True if Triton was imported with TRITON_INTERPRET=1."""
    return not isinstance(_unit_rows, JITFunction)


@functools.cache
def _failure() -> str | None:
    """Return why the smallest of the kernels does not run: no C compiler, a driver or a GPU that Triton does not serve."""
    try:
        _run_smallest()
    except Exception as error:  # noqa: BLE001 - compiler, linker, loader and driver each raise their own
        return f"Triton cannot build its kernels for {torch.cuda.get_device_name()}: {type(error).__name__}: {error}"
    return None


def _run_smallest() -> None:
    unit_rows(torch.ones(1, 1, device="cuda"))
    torch.cuda.synchronize()
