"""What a store holds: two stores of equal identity hold the same numbers."""

from __future__ import annotations

import hashlib
import json

from pellucid.core.config import Config
from pellucid.core.files import sha256_tensors
from pellucid.data.store.config import Dtype
from pellucid.hosts import Host

VERSION = 1
"""Version of the file format."""


class Identity(Config):
    """Everything that decides the numbers in a store."""

    host: str
    """Name of the host; for people, not part of the key."""
    host_sha256: str
    """sha256 of all weights of the host: a value at a site depends on every block before it."""
    site: str
    """Canonical name of the site."""
    what: str
    """What is kept of a row of data: 'rows' (its kept positions), 'features' (of the head) or 'prefix:' and a part of it."""
    data_sha256: str
    """Digest of the data, with seed, context and excluded positions."""
    dtype: Dtype
    """Type of the numbers on disk."""

    @property
    def key(self) -> str:
        """Return the content hash that names the store's folder."""
        values = self.model_dump(mode="json", exclude={"host"}) | {"version": VERSION}
        return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()

    def differences(self, wanted: Identity) -> list[str]:
        """Return a sentence for each thing in which this store is not the one wanted."""
        found, other = self.model_dump(mode="json"), wanted.model_dump(mode="json")
        names = [name for name in found if name not in ("host", "host_sha256") and found[name] != other[name]]
        sentences = [f"{name}: found {found[name]!r}, wanted {other[name]!r}" for name in names]
        if self.host_sha256 != wanted.host_sha256:
            there, here = (f"'{i.host}' with weights {i.host_sha256[:12]}" for i in (self, wanted))
            sentences.insert(0, f"host: found {there}, wanted {here}")
        return sentences


def host_digest(host: Host) -> str:
    """Return a sha256 of all weights of a host and of the kind of module it is."""
    kind = f"{type(host.module).__module__}.{type(host.module).__qualname__}|"
    return hashlib.sha256((kind + sha256_tensors(dict(host.module.state_dict()))).encode()).hexdigest()
