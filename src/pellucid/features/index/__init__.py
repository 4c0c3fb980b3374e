"""The index of a run: what every latent of every dictionary does, in columns that are read one latent at a time."""

from pellucid.features.index.reader import Index
from pellucid.features.index.schema import EXAMPLES, LATENTS, IndexedDictionary, IndexedExample, Manifest

__all__ = ["EXAMPLES", "LATENTS", "Index", "IndexedDictionary", "IndexedExample", "Manifest"]
