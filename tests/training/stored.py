"""What the tests of fits with a store share."""

from __future__ import annotations

from pellucid.data.store import StoreWriter

STEPS = 15
"""48 training rows in batches of 4 are 12 steps, so this is more than one epoch."""


def local(small, *, sites=("layers.1", "layers.2")):
    base = small.dictionaries()["local"]
    return {site: {**base, "site": site} for site in sites}


def counting(host):
    """The host, with a list that grows by one at each forward."""
    calls = []
    host.module.register_forward_pre_hook(lambda *_: calls.append(1))
    return host, calls


def folders(tmp_path):
    return sorted(path.parent for path in (tmp_path / "store").glob("*/index.json"))


def contents(folder):
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file() and p.name != ".lock"}


def small_shards(monkeypatch, places):
    """Cut a shard every few places, far below the least size a config allows."""
    plain = StoreWriter.__init__

    def init(self, *args, **keywords):
        plain(self, *args, **keywords)
        self.shard_places = places

    monkeypatch.setattr(StoreWriter, "__init__", init)
