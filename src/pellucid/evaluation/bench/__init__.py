"""Every architecture side by side, on planted data and on a real network."""

from pellucid.evaluation.bench.options import DictionaryBenchOptions
from pellucid.evaluation.bench.run import bench_dictionaries

__all__ = ["DictionaryBenchOptions", "bench_dictionaries"]
