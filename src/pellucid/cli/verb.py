"""What every verb is: settings that come from YAML or flags, and one public function."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Annotated, Any

import tyro
from pydantic import Field

from pellucid.core.config import Config


class Verb(Config):
    """What every verb takes."""

    config: Path | None = None
    """YAML file with any of these settings; flags come after it and win."""
    json_: Annotated[bool, tyro.conf.arg(name="json")] = Field(False, alias="json")
    """Print one JSON object, last on stdout."""

    plugin: tuple[str, ...] = ()
    """Python modules that are imported first and register architectures of their own."""

    @classmethod
    def description(cls) -> str:
        """Return what --help says before the flags."""
        return inspect.getdoc(cls) or ""

    def perform(self) -> Any:
        """Do it; return what a person or a script reads: an object with `to_text`, or a dictionary of JSON values."""
        raise NotImplementedError
