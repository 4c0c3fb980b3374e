"""How the loops of the sparse kernels are compiled for the CPU."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import numba

FAST = {"nsz", "arcp", "contract", "reassoc"}
"""Lets sums and maxima use vector registers. Infinities and NaN keep their meaning: the loops below test for them."""


def compiled(**options: Any) -> Callable[[Callable[..., Any]], Any]:
    """Compile a function on its first call and keep the machine code on disk; wrappers that check annotations come off."""
    return lambda function: numba.njit(cache=True, nogil=True, **options)(inspect.unwrap(function))
