"""Architectures from outside the package: modules and entry points that register them when they are imported."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from importlib.metadata import entry_points

from pellucid.core.errors import ConfigError

GROUP = "pellucid.architectures"
"""Entry points of installed packages: each names a module, which is imported the first time an unknown name is met."""
_asked: list[bool] = []


def load_installed() -> bool:
    """Import what installed packages offer under GROUP, once a process; return whether this call did.

    ConfigError names the package whose module cannot be imported.
    """
    if _asked:
        return False
    _asked.append(True)
    for point in entry_points(group=GROUP):
        try:
            point.load()
        except ImportError as error:
            where = point.dist.name if point.dist else "an installed package"
            raise ConfigError(f"{where} offers architectures in '{point.value}', which cannot be imported: {error}") from error
    return True


def load_modules(names: Sequence[str]) -> None:
    """Import modules that register architectures; ConfigError names one that cannot be imported."""
    for name in names:
        try:
            importlib.import_module(name)
        except ImportError as error:
            raise ConfigError(f"plugin '{name}' cannot be imported: {error}. Is its folder on PYTHONPATH?") from error
