"""One original run of a batch, and any number of spliced runs that start from it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import count
from typing import Any

import torch
from jaxtyping import Bool, Float, Int, Shaped
from torch import Tensor, nn

from pellucid.core.errors import SiteError
from pellucid.hosts.host import Head, Host
from pellucid.hosts.replay import Prefix
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

    labels: Int[Tensor, " n"] | None = None
    """Labels of the kept positions, -100 for none; set by who runs the batch, where something wants a loss."""

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
        with_rows = list(dict.fromkeys([*splice, *capture]))
        wanted = list(dict.fromkeys([*with_rows, *([head.site] if head and features else [])]))
        with torch.no_grad():
            result = host.run(inputs, capture=wanted, prefixes=starts, stop=head is not None or not features)
        self._prefixes: dict[Site, Prefix] = result.prefixes
        self._rows = {site: self._kept(result.values[site], site) for site in with_rows}
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

    def prefix(self, site: Site) -> Prefix:
        """Return what a run that starts at this site starts from."""
        return self._prefixes[site]

    def splice(self, site: Site, replace: Replace, capture: Sequence[Site] = ()) -> Spliced:
        """Run on from `site` with `replace(rows)` in the place of its kept rows.

        A site that is called several times in a run is replaced at each call, from the values of the spliced run.
        Raises SiteError if `replace` returns another shape than it was given.
        """
        wanted = [*capture, *([self.head.site] if self.head else [])]
        calls = count()
        edit = {site: lambda value: self._replaced(value, site, next(calls), replace)}
        result = self.host.run(
            self.inputs, capture=wanted, edit=edit, resume=self._prefixes.get(site), stop=self.head is not None
        )
        features = result.values[self.head.site] if self.head else self.host.logits(result.output)
        return Spliced(rows_of(features, self.keep), {later: self._kept(result.values[later], later) for later in capture})

    def _replaced(self, value: Tensor, site: Site, call: int, replace: Replace) -> Tensor:
        keep = self.keep
        if keep is not None and keep.shape[1:] == value.shape[:-1] and call < len(keep):
            keep = keep[call]  # one step of a site called once a step
        if keep is not None and keep.shape != value.shape[:-1]:
            raise self._other_positions(site, value)
        rows = rows_of(value, keep)
        new = replace(rows)
        if new.shape != rows.shape:
            found = f"{tuple(rows.shape)}, but what should replace them is {tuple(new.shape)}"
            raise SiteError(f"the rows of site '{site}' are {found}")
        new = new.to(value.dtype)
        return _laid_out(new.reshape(value.shape), value) if keep is None else value.masked_scatter(keep.unsqueeze(-1), new)

    def _kept(self, value: Tensor, site: Site) -> Tensor:
        if self.keep is not None and self.keep.shape != value.shape[:-1]:
            raise self._other_positions(site, value)
        return rows_of(value, self.keep)

    def _other_positions(self, site: Site, value: Tensor) -> SiteError:
        assert self.keep is not None
        return SiteError(
            f"site '{site}' has positions {tuple(value.shape[:-1])}, but the batch marks which of {tuple(self.keep.shape)} "
            f"positions to use. Choose a site with one value per token, or data without a mask."
        )


def _laid_out(new: Tensor, value: Tensor) -> Tensor:
    """Return a copy of `new` in the memory order of `value`.

    In another order a convolution takes another kernel and rounds otherwise. A copy, because a module after the site may
    write into its input, which must be neither the dictionary's own output nor what later splices start from.
    """
    return torch.empty_like(value).copy_(new)
