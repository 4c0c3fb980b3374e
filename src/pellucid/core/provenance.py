"""Where a result came from: versions, machine and time."""

from __future__ import annotations

import datetime
import importlib.metadata
import platform
import sys
from typing import Any

import torch

PACKAGES = ("pellucid", "torch", "numpy", "transformers", "safetensors", "pydantic")


def versions() -> dict[str, str]:
    """Return the versions of Python and of the packages a number may depend on."""
    found = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            found[name] = "not installed"
    return found


def environment() -> dict[str, Any]:
    """Return versions, platform, thread count, command line and UTC date."""
    return {
        "versions": versions(),
        "platform": platform.platform(),
        "threads": torch.get_num_threads(),
        "command": sys.argv,
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
    }
