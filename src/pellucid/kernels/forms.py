"""The forms the sparse kernels come in."""

from __future__ import annotations

import functools
import importlib
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor

from pellucid.core.errors import ConfigError
from pellucid.core.logging import log
from pellucid.kernels.entries import Entries


@dataclass(frozen=True)
class Place:
    """Where a form is and what it is for."""

    module: str
    """Has the functions of `Form`."""
    device: str | None = None
    """Type of the only devices it works on; None for all."""
    dtypes: tuple[torch.dtype, ...] | None = None
    """Types of numbers it works on; None for all."""
    package: str = "pellucid"
    """What brings its compiler, for pip."""


PLAIN = "plain"
"""Dense codes and autograd: no sparse kernel at all."""
FORMS = {
    "stock": Place("pellucid.kernels.stock"),
    "numba": Place("pellucid.kernels.compiled", "cpu", (torch.float32,)),
    "triton": Place("pellucid.kernels.gpu", "cuda", (torch.float32, torch.bfloat16, torch.float16), "pellucid[gpu]"),
}
"""Every form by its name."""


@runtime_checkable
class Form(Protocol):
    """One implementation of the sparse kernels: a module with these functions, documented in `kernels.stock`."""

    LATENTS_FIRST: bool

    def top_rows(self, pre: Tensor, bias: Tensor, k: int) -> tuple[Tensor, Tensor]: ...
    def above_rows(self, pre: Tensor, bias: Tensor, least: Tensor) -> tuple[Tensor, Tensor, Tensor]: ...
    def decode_rows(self, entries: Entries, values: Tensor, rows: Tensor) -> Tensor: ...
    def latent_sums(self, entries: Entries, values: Tensor, x: Tensor) -> Tensor: ...
    def latent_totals(self, entries: Entries, values: Tensor) -> Tensor: ...
    def entry_dots(self, entries: Entries, x: Tensor, rows: Tensor) -> Tensor: ...
    def remove_parallel(self, gradient: Tensor, rows: Tensor) -> None: ...
    def unit_rows(self, rows: Tensor) -> None: ...
    def obstacle(self) -> str | None: ...


def get_form(name: str) -> Form | None:
    """Return a form by name; None for the plain one. ConfigError if it is unknown or cannot run on this machine."""
    if name == PLAIN:
        return None
    if name not in FORMS:
        raise ConfigError(f"unknown kernels '{name}'. Known: {', '.join([PLAIN, *FORMS])}")
    form, problem = _loaded(name)
    if form is None:
        raise ConfigError(f"kernels '{name}' cannot be used here: {problem}, or set kernels: stock")
    return form


def usable(device: torch.device, dtype: torch.dtype) -> list[str]:
    """Return the names of the forms that work on a device and dtype, those without a compiler first.

    A form that is made for them but cannot run on this machine is left out, and the log says why, once.
    """
    names = [PLAIN]
    for name, place in FORMS.items():
        if place.device not in (None, device.type) or (place.dtypes is not None and dtype not in place.dtypes):
            continue
        form, problem = _loaded(name)
        if form is None:
            _say(f"kernels '{name}' cannot be used here: {problem}. Going on with stock operators")
        else:
            names.append(name)
    return names


def _loaded(name: str) -> tuple[Form | None, str]:
    """Return a form, or None with what keeps it from running here and what to do about it."""
    place = FORMS[name]
    try:
        form: Form = importlib.import_module(place.module)
    except ImportError as error:
        return None, f"{error}. Install it (pip install '{place.package}')"
    problem = form.obstacle()
    return (form, "") if problem is None else (None, problem)


@functools.cache
def _say(text: str) -> None:
    log.warning("%s", text)
