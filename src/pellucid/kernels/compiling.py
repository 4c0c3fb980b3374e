"""How the loops of the sparse kernels are compiled for the CPU."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any

import numba
import torch

FAST = {"nsz", "arcp", "contract", "reassoc"}
"""Lets sums and maxima use vector registers. Infinities and NaN keep their meaning: the loops below test for them."""


def compiled(**options: Any) -> Callable[[Callable[..., Any]], Any]:
    """Compile a function on its first call and keep the machine code on disk; wrappers that check annotations come off."""
    return lambda function: numba.njit(cache=True, nogil=True, **options)(inspect.unwrap(function))


def parallel(**options: Any) -> Callable[[Callable[..., Any]], Any]:
    """As `compiled`, for a loop that is shared out over as many threads as PyTorch's; not to be called from another one.

    By itself numba takes every core and tells PyTorch to do so as well, through the thread pool that they share. Where
    several processes were given a core each, all would then wait for each other: small sums took 200 times as long.
    """
    compile_it = compiled(parallel=True, **options)

    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        loop = compile_it(function)

        @functools.wraps(loop.py_func)
        def call(*arguments: Any) -> Any:
            threads = torch.get_num_threads()
            numba.set_num_threads(min(threads, numba.config.NUMBA_NUM_THREADS))  # type: ignore[attr-defined]
            try:
                return loop(*arguments)
            finally:
                if torch.get_num_threads() != threads:
                    torch.set_num_threads(threads)

        return call

    return decorate
