"""The config.json of a folder that holds something trained, read as hostile."""

from __future__ import annotations

from pathlib import Path
from typing import TypeVar

from pellucid.core import files
from pellucid.core.config import Config, build
from pellucid.core.errors import ConfigError, FileFormatError

H = TypeVar("H", bound=Config)


def read_header(path: Path, kind: type[H], *, what: str, weights: str, form: str, version: int, largest: int) -> H:
    """Return the header of `what` (such as 'dictionary'), whose `format` and `version` must be these.

    At most `largest` bytes are read.

    Raises FileFormatError naming the file if it is missing, too large, nested too deep, of another format or version, or
    holds settings that `kind` refuses; `weights` names the file that belongs beside it.
    """
    if not path.is_file():
        raise FileFormatError(f"{path} does not exist. A {what} is a folder with {path.name} and {weights}")
    size = path.stat().st_size
    if size > largest:
        raise FileFormatError(f"{path} has {size} bytes, wanted at most {largest}")
    try:
        values = files.read_json(path)
    except RecursionError:
        raise FileFormatError(f"{path} is nested too deep to be the config of a {what}") from None
    if not isinstance(values, dict) or values.get("format") != form:
        raise FileFormatError(f"{path} is not the config of a {what}: it does not say 'format': '{form}'")
    if values.get("version") != version:
        raise FileFormatError(
            f"{path} has format version {values.get('version')!r}, this pellucid reads {version}. Use the version that wrote it"
        )
    try:
        return build(kind, values, where=str(path))
    except ConfigError as error:
        raise FileFormatError(str(error)) from None
