"""A pass put together from stored values instead of a run of the host."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from pellucid.hosts import Head, Host, Site
from pellucid.hosts.replay import Prefix
from pellucid.hosts.splice import SharedPass


class StoredPass(SharedPass):
    """Gives what a SharedPass gives; a splice runs the host from its site on."""

    def __init__(
        self,
        host: Host,
        inputs: Any,
        keep: Tensor | None,
        head: Head | None,
        rows: dict[Site, Tensor],
        features: Tensor | None = None,
        prefixes: dict[Site, Prefix] | None = None,
    ) -> None:
        self.host, self.inputs, self.keep, self.head = host, inputs, keep, head
        self._rows, self.features, self._prefixes = rows, features, prefixes or {}
