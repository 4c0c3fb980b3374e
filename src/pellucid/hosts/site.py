"""A place in a host: module path, input or output, tuple index, and the axis that holds features."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from torch import Tensor

_NAME = re.compile(r"^(?P<path>[^\[\]@]*?)(?P<index>\[\d+\])?(?P<axis>@-?\d+)?$")


@dataclass(frozen=True)
class Site:
    """Where a value is read or replaced.

    Two sites are equal when they name the same place, whatever name was used to find them.
    """

    path: str
    """Module path as `named_modules` gives it; empty for the host itself."""
    side: Literal["input", "output"] = "output"
    index: int | None = None
    """Entry of a tuple value; None for the first floating tensor."""
    axis: int = -1
    """Axis of the value that holds features; every other axis is positions."""
    name: str = ""

    def __str__(self) -> str:
        return self.name or self.canonical

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Site) and self.canonical == other.canonical

    def __hash__(self) -> int:
        return hash(self.canonical)

    @property
    def canonical(self) -> str:
        """Return the name that spells out every part."""
        index = "" if self.index is None else f"[{self.index}]"
        axis = "" if self.axis == -1 else f"@{self.axis}"
        return f"{self.path}.{self.side}{index}{axis}"

    def features_last(self, value: Tensor) -> Tensor:
        """Return a view of the value with its feature axis moved last: [positions..., d]."""
        return value if self.axis == -1 else value.movedim(self.axis, -1)

    def restored(self, value: Tensor) -> Tensor:
        """Undo `features_last`."""
        return value if self.axis == -1 else value.movedim(-1, self.axis)


def split_name(name: str) -> tuple[str, int | None, int | None] | None:
    """Split 'path[1]@-1' into path, tuple index and feature axis; None if it cannot be read."""
    match = _NAME.match(name)
    if match is None:
        return None
    index, axis = match["index"], match["axis"]
    return match["path"], int(index[1:-1]) if index else None, int(axis[1:]) if axis else None
