"""What a run of a host takes and gives."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor, nn

from pellucid.hosts.replay import Prefix
from pellucid.hosts.site import Site


@dataclass(frozen=True)
class Head:
    """The module that turns features into logits, so that a caller can do it in chunks of positions."""

    site: Site
    """The module's input."""
    module: nn.Module


Edit = Callable[[Tensor], Tensor]
"""Takes a site's value with features last, [positions..., d], and returns what takes its place."""


@dataclass
class Result:
    """What one run gave."""

    output: Any
    """The host's output; None if the run stopped early."""
    values: dict[Site, Tensor]
    """Captured values with features last, [positions..., d]; a site called several times is stacked on a new first axis."""
    prefixes: dict[Site, Prefix] = field(default_factory=dict)
