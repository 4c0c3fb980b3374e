"""Keep the host's output distribution and its values at later blocks."""

from __future__ import annotations

from typing import ClassVar, Literal

from jaxtyping import Float
from pydantic import Field
from torch import Tensor
from torch.nn.functional import mse_loss

from pellucid.core.errors import ConfigError
from pellucid.hosts import Host, Site
from pellucid.training.objectives.base import Evidence, Objective


class EndToEndDownstream(Objective):
    """KL plus the error at later blocks (Braun et al. 2024, 'e2e+ds').

        kl_coefficient * KL(original || spliced) + downstream_coefficient / n * sum over n later sites of MSE

    The later sites are the inputs of the blocks after the dictionary's site; the final block's output and the
    dictionary's own site are not among them. The coefficient is divided by the number of sites, so that n equal errors
    cost the same for any n.
    """

    splices: ClassVar[bool] = True

    kind: Literal["e2e+ds"] = "e2e+ds"
    """Name of the objective."""
    kl_coefficient: float = Field(0.5, ge=0)
    """Weight of the KL."""
    downstream_coefficient: float = Field(2.5, ge=0)
    """Weight beta of the mean error over later sites."""
    direction: Literal["original_spliced", "spliced_original"] = "original_spliced"
    """Which KL: sum p_original (log p_original - log p_spliced), or the other way round."""
    sites: tuple[str, ...] = ()
    """Names of the later sites; empty for every block input after the dictionary's site."""

    @property
    def reverse(self) -> bool:
        """True if the KL is KL(spliced || original)."""
        return self.direction == "spliced_original"

    def downstream(self, host: Host, site: Site) -> list[Site]:
        """Return the later sites; ConfigError if there are none."""
        found = [host.site(name) for name in self.sites] if self.sites else host.downstream(site)
        if not found:
            raise ConfigError(
                f"objective 'e2e+ds' at site '{site}' has no later block input to compare in {host.name}. "
                f"Choose an earlier site, name the sites (sites: [...]), or use objective 'e2e'."
            )
        return found

    def terms(self, evidence: Evidence) -> dict[str, Float[Tensor, ""]]:
        """Return {"kl", "downstream"}."""
        assert evidence.kl is not None
        errors = [mse_loss(spliced, original) for original, spliced in evidence.downstream]
        share = self.downstream_coefficient / len(errors)
        return {"kl": self.kl_coefficient * evidence.kl, "downstream": share * sum(errors[1:], errors[0])}
