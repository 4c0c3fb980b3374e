"""One original run of a batch, and any number of spliced runs that start from it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Bool, Float, Shaped
from torch import Tensor, nn

from pellucid.core.errors import SiteError
from pellucid.hosts.host import Head, Host
from pellucid.hosts.site import Site

Replace = Callable[[Float[Tensor, "n d"]], Float[Tensor, "n d"]]
"""Takes the rows a dictionary sees and returns what stands in for them."""


def rows_of(value: Shaped[Tensor, "... d"], keep: Bool[Tensor, "..."] | None) -> Shaped[Tensor, "n d"]:
    """Return the kept positions of a value as rows; all of them if `keep` is None or has other positions."""
    if keep is None or keep.shape != value.shape[:-1]:
        return value.reshape(-1, value.shape[-1])
    return value[keep]


@dataclass
class Spliced:
    """What a spliced run gave, kept positions only."""

    features: Float[Tensor, "n d"]
    """What the readout turns into logits."""
    values: dict[Site, Float[Tensor, "n width"]]
    """Captured later values."""


class SharedPass:
    """The original run of one batch; its prefix and its outputs serve every splice of that batch.

    Positions where `keep` is False pass through a splice unchanged.
    """

    def __init__(
        self,
        host: Host,
        inputs: Any,
        keep: Bool[Tensor, "..."] | None,
        *,
        splice: Sequence[Site] = (),
        capture: Sequence[Site] = (),
        head: Head | None = None,
        features: bool = True,
    ) -> None:
        """Run the host once, no further than needed: to the head if `features` are wanted, else to the last site."""
        self.host, self.inputs, self.keep, self.head = host, inputs, keep, head
        starts = [site for site in dict.fromkeys(splice) if host.resumable(site)]
        wanted = list(dict.fromkeys([*splice, *capture, *([head.site] if head and features else [])]))
        with torch.no_grad():
            result = host.run(inputs, capture=wanted, prefixes=starts, stop=head is not None or not features)
        self._prefixes = result.prefixes
        values = {site: value for site, value in result.values.items() if head is None or site != head.site}
        self._rows = {site: self._kept(value, site) for site, value in values.items()}
        self.features: Tensor | None = None
        if features:
            self.features = rows_of(result.values[head.site] if head else host.logits(result.output), keep)

    @property
    def readout(self) -> nn.Module:
        """The module that turns `features` into logits; the identity if the features are logits."""
        return self.head.module if self.head else nn.Identity()

    def rows(self, site: Site) -> Float[Tensor, "n d"]:
        """Return the original value of a site at the kept positions."""
        return self._rows[site]

    def splice(self, site: Site, replace: Replace, capture: Sequence[Site] = ()) -> Spliced:
        """Run on from `site` with `replace(rows)` in the place of its kept rows.

        A site that is called several times in a run is replaced at each call, from the values of the spliced run.
        """
        wanted = [*capture, *([self.head.site] if self.head else [])]
        edit = {site: lambda value: self._replaced(value, replace)}
        result = self.host.run(
            self.inputs, capture=wanted, edit=edit, resume=self._prefixes.get(site), stop=self.head is not None
        )
        features = result.values[self.head.site] if self.head else self.host.logits(result.output)
        return Spliced(rows_of(features, self.keep), {later: self._kept(result.values[later], later) for later in capture})

    def _replaced(self, value: Tensor, replace: Replace) -> Tensor:
        new = replace(rows_of(value, self.keep)).to(value.dtype)
        if self.keep is None or self.keep.shape != value.shape[:-1]:
            # A module after the site may write into its input, which must not be the dictionary's own output.
            return new.reshape(value.shape).clone(memory_format=torch.contiguous_format)
        return value.masked_scatter(self.keep.unsqueeze(-1), new)

    def _kept(self, value: Tensor, site: Site) -> Tensor:
        if self.keep is not None and self.keep.shape != value.shape[:-1]:
            raise SiteError(
                f"site '{site}' has positions {tuple(value.shape[:-1])}, but the batch marks which of {tuple(self.keep.shape)} "
                f"positions to use. Choose a site with one value per token, or data without a mask."
            )
        return rows_of(value, self.keep)
