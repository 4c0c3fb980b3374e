"""What a run does when it comes to a site: begin a prefix there, edit the value, keep it, end the run."""

from __future__ import annotations

from dataclasses import dataclass, field

from torch import Tensor

from pellucid.core.errors import SiteError
from pellucid.hosts.hooks import Stop
from pellucid.hosts.replay import Prefix
from pellucid.hosts.result import Edit
from pellucid.hosts.site import Site


@dataclass
class Visitor:
    """Called with a site's value; returns what takes its place, or None."""

    site: Site
    edit: Edit | None = None
    seen: dict[Site, list[Tensor]] | None = None
    """Where values are kept; None: nowhere."""
    prefix: Prefix | None = None
    left: dict[Site, int] = field(default_factory=dict)
    """Calls to wait for at each watched site before the run may end; empty: it goes on to its end."""

    def __call__(self, value: Tensor) -> Tensor | None:
        site, new = self.site, None
        if self.prefix is not None and self.prefix.value is None:
            self.prefix.value = value.clone()
        if self.edit is not None:
            rows = site.features_last(value)
            edited = self.edit(rows)
            if edited.shape != rows.shape:
                raise SiteError(f"site '{site}' holds {tuple(rows.shape)}, but its edit returned {tuple(edited.shape)}")
            new = value = site.restored(edited)
        if self.seen is not None:
            # A module after the site may write into the tensor, so what is kept is a copy.
            self.seen.setdefault(site, []).append(site.features_last(value).clone())
        if self.left:
            self.left[site] -= 1
            if not any(self.left.values()):
                raise Stop
        return new
