"""Text and tensor sources: batches that depend on the seed and the step only."""

from __future__ import annotations

from pellucid.data.config import Document, TextConfig
from pellucid.data.documents import documents
from pellucid.data.machine import MachineConfig, MachineData
from pellucid.data.planted import Planted, PlantedConfig, PlantedData
from pellucid.data.planted_circuit import PlantedCircuit, PlantedCircuitConfig, planted_circuit
from pellucid.data.planted_tree import PlantedTreeConfig, PlantedTreeData
from pellucid.data.source import Batch, DataSource
from pellucid.data.tensors import TensorData
from pellucid.data.text import TextCounts, TokenData, load_text

__all__ = [
    "Batch",
    "DataSource",
    "Document",
    "MachineConfig",
    "MachineData",
    "Planted",
    "PlantedCircuit",
    "PlantedCircuitConfig",
    "PlantedConfig",
    "PlantedData",
    "PlantedTreeConfig",
    "PlantedTreeData",
    "TensorData",
    "TextConfig",
    "TextCounts",
    "TokenData",
    "documents",
    "load_text",
    "planted_circuit",
]
