"""Errors a user can act on: each names the thing, what was found, what was wanted and the next step."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class PellucidError(Exception):
    """Base of every error pellucid raises on purpose."""


class ConfigError(PellucidError, ValueError):
    """A setting is unknown, out of range or in conflict with another."""


class SiteError(PellucidError, ValueError):
    """A site does not exist in the host, or has another shape than wanted."""


class DataError(PellucidError, ValueError):
    """A data source is missing, empty, too short or malformed."""


class FileFormatError(PellucidError, ValueError):
    """A file is corrupted, truncated or not what its name says."""


class RunError(PellucidError, RuntimeError):
    """A run folder cannot be used as asked: in use, finished, or made by another config."""


class RankError(PellucidError, RuntimeError):
    """A rank of a fit over several processes died, hangs, failed or disagrees with the others."""


class NumericsError(PellucidError, ArithmeticError):
    """A number that should be finite is not."""


class HostMismatchWarning(UserWarning):
    """A dictionary is used on a host it was not trained on."""


def nearest(name: str, names: Iterable[str], n: int = 3) -> list[str]:
    """Return up to n of `names` that look most like `name`, best first."""
    return difflib.get_close_matches(name, list(names), n=n, cutoff=0.4)


def did_you_mean(name: str, names: Iterable[str]) -> str:
    """Return ' Did you mean ...?' for the nearest names, or an empty string."""
    found = nearest(name, names)
    return f" Did you mean {', '.join(repr(f) for f in found)}?" if found else ""


def raise_all(problems: list[str], error: type[PellucidError] = ConfigError, title: str = "") -> None:
    """Raise one error that lists every problem; return if there is none."""
    if not problems:
        return
    if len(problems) == 1 and not title:
        raise error(problems[0])
    lines = "\n".join(f"  - {p}" for p in problems)
    raise error(f"{title or f'{len(problems)} problems found'}:\n{lines}")
