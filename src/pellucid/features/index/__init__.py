"""The index of a run: what every latent of every dictionary does, in columns that are read one latent at a time."""

from pellucid.features.index.build import build_index
from pellucid.features.index.config import IndexConfig
from pellucid.features.index.reader import Index
from pellucid.features.index.schema import EXAMPLES, LATENTS, IndexedDictionary, IndexedExample, Manifest

__all__ = ["EXAMPLES", "LATENTS", "Index", "IndexConfig", "IndexedDictionary", "IndexedExample", "Manifest", "build_index"]
