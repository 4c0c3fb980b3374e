"""Activations on disk: written once, read by any number of fits."""

from pellucid.data.store.config import StoreConfig
from pellucid.data.store.identity import Identity, host_digest
from pellucid.data.store.index import Index, read_index
from pellucid.data.store.reader import ActivationStore
from pellucid.data.store.shuffle import neighbour_correlation, shuffled_rows
from pellucid.data.store.writer import StoreWriter

__all__ = [
    "ActivationStore",
    "Identity",
    "Index",
    "StoreConfig",
    "StoreWriter",
    "host_digest",
    "neighbour_correlation",
    "read_index",
    "shuffled_rows",
]
