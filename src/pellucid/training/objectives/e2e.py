"""Keep the host's output distribution."""

from __future__ import annotations

from typing import ClassVar, Literal

from jaxtyping import Float
from pydantic import Field
from torch import Tensor

from pellucid.training.objectives.base import Evidence, Objective


class EndToEnd(Objective):
    """kl_coefficient * KL(original || spliced), the mean over positions (Braun et al. 2024, 'e2e').

    The reconstruction error at the dictionary's own site is not part of it.
    """

    splices: ClassVar[bool] = True

    kind: Literal["e2e"] = "e2e"
    """Name of the objective."""
    kl_coefficient: float = Field(1.0, ge=0)
    """Weight of the KL."""
    direction: Literal["original_spliced", "spliced_original"] = "original_spliced"
    """Which KL: sum p_original (log p_original - log p_spliced), or the other way round."""

    @property
    def reverse(self) -> bool:
        """True if the KL is KL(spliced || original)."""
        return self.direction == "spliced_original"

    def terms(self, evidence: Evidence) -> dict[str, Float[Tensor, ""]]:
        """Return {"kl"}."""
        assert evidence.kl is not None
        return {"kl": self.kl_coefficient * evidence.kl}
