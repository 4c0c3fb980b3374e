"""How many features each site of a host holds."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import ExitStack
from typing import Any

import torch
from torch import Tensor, nn

from pellucid.core.errors import SiteError
from pellucid.core.logging import log
from pellucid.hosts.hooks import visiting
from pellucid.hosts.site import Site


def widths(module: nn.Module, sites: Mapping[str, Site], call: Callable[[], Any]) -> dict[str, int]:
    """Return the feature width of every named site that one `call` of the module reaches."""
    found: dict[str, int] = {}

    def note(name: str, site: Site) -> Callable[[Tensor], None]:
        def visit(value: Tensor) -> None:
            found[name] = value.shape[site.axis]

        return visit

    with ExitStack() as stack, torch.no_grad():
        for name, site in sites.items():
            stack.enter_context(visiting(module, site, note(name, site)))
        try:
            call()
        except SiteError:
            log.debug("some modules of %s give no floating tensor", type(module).__name__)
    return found
