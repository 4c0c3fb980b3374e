"""The forms the sparse kernels come in."""

from __future__ import annotations

import importlib
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor

from pellucid.core.errors import ConfigError
from pellucid.kernels.entries import Entries

PLAIN = "plain"
"""Dense codes and autograd: no sparse kernel at all."""
FORMS = {"stock": "pellucid.kernels.stock", "numba": "pellucid.kernels.compiled"}
"""Name -> module with the functions of `Form`."""


@runtime_checkable
class Form(Protocol):
    """One implementation of the sparse kernels: a module with these functions, documented in `kernels.stock`."""

    def top_rows(self, pre: Tensor, bias: Tensor, k: int) -> tuple[Tensor, Tensor]: ...
    def above_rows(self, pre: Tensor, bias: Tensor, least: Tensor) -> tuple[Tensor, Tensor, Tensor]: ...
    def decode_rows(self, entries: Entries, values: Tensor, rows: Tensor) -> Tensor: ...
    def latent_sums(self, entries: Entries, values: Tensor, x: Tensor) -> Tensor: ...
    def entry_dots(self, entries: Entries, x: Tensor, rows: Tensor) -> Tensor: ...
    def remove_parallel(self, gradient: Tensor, rows: Tensor) -> None: ...
    def unit_rows(self, rows: Tensor) -> None: ...


def get_form(name: str) -> Form | None:
    """Return a form by name; None for the plain one. ConfigError if it is unknown or cannot be imported here."""
    if name == PLAIN:
        return None
    if name not in FORMS:
        raise ConfigError(f"unknown kernels '{name}'. Known: {', '.join([PLAIN, *FORMS])}")
    try:
        return importlib.import_module(FORMS[name])
    except ImportError as error:
        raise ConfigError(f"kernels '{name}' cannot be used here: {error}. Install it, or set kernels: stock") from error


def usable(device: torch.device, dtype: torch.dtype) -> list[str]:
    """Return the names of the forms that work on a device and dtype, those without a compiler first."""
    names = [PLAIN, "stock"]
    if device.type == "cpu" and dtype == torch.float32:
        try:
            importlib.import_module(FORMS["numba"])
            names.append("numba")
        except ImportError:
            pass  # no wheel for this platform: stock operators do, and the log lists what was measured
    return names
