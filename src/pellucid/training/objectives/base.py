"""What an objective sees and returns."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar

from jaxtyping import Float
from torch import Tensor

from pellucid.core.config import Config
from pellucid.hosts import Host, Site


@dataclass
class Evidence:
    """What one dictionary did to one batch; n positions that the dictionary saw."""

    activations: Float[Tensor, "n d"]
    """The site's value in the original run."""
    reconstruction: Float[Tensor, "n d"]
    """What the dictionary makes of it."""
    kl: Float[Tensor, ""] | None = None
    """Mean KL of the spliced output distribution against the original; None if the objective does not splice."""
    downstream: Sequence[tuple[Tensor, Tensor]] = field(default_factory=tuple)
    """(original, spliced) values [n, width] at each downstream site."""


class Objective(Config):
    """What training minimises, apart from the architecture's own penalty; holds its coefficients and its formula."""

    splices: ClassVar[bool] = False
    """True if the host is run with the reconstruction in place."""

    @property
    def reverse(self) -> bool:
        """True if the KL is taken the other way round."""
        return False

    def downstream(self, host: Host, site: Site) -> list[Site]:
        """Return the sites whose values the objective compares after a splice at `site`."""
        return []

    def terms(self, evidence: Evidence) -> dict[str, Float[Tensor, ""]]:
        """Return the terms of the loss by name, coefficients multiplied in; training minimises their sum."""
        raise NotImplementedError
