"""A host, token rows and a config small enough to fit in a second; shared by the tests and by the processes they start."""

from __future__ import annotations

import math
from typing import Any

import torch
from safetensors.torch import load_file
from torch import nn

from pellucid.core.config import build
from pellucid.data import Batch, TensorData
from pellucid.hosts import Host
from pellucid.training import FitConfig

VOCABULARY, CONTEXT, ROWS = 61, 12, 4


def host(layers: int = 4, seed: int = 0) -> Host:
    """Return a random Llama of width 32."""
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(seed)
    config = LlamaConfig(
        hidden_size=32, intermediate_size=48, num_hidden_layers=layers, num_attention_heads=2, num_key_value_heads=1,
        vocab_size=VOCABULARY, max_position_embeddings=32, use_cache=False,
    )  # fmt: skip
    return Host(LlamaForCausalLM(config), name="small")


class Tokens(TensorData):
    """Random token rows with next-token labels; the first position of a row is excluded."""

    def __init__(self, rows: int = 60, seed: int = 0, held_out: float = 0.2) -> None:
        ids = torch.randint(0, VOCABULARY, (rows, CONTEXT), generator=torch.Generator().manual_seed(seed))
        super().__init__({"input_ids": ids}, held_out=held_out)

    def train_rows(self, indices: torch.Tensor) -> Batch:
        return _as_text(super().train_rows(indices))

    def held_out_rows(self, indices: torch.Tensor) -> Batch:
        return _as_text(super().held_out_rows(indices))


def _as_text(batch: Batch) -> Batch:
    ids = batch.inputs["input_ids"]
    keep = torch.ones_like(ids, dtype=torch.bool)
    keep[:, 0] = False
    labels = torch.cat([ids[:, 1:], torch.full_like(ids[:, :1], -100)], dim=1)
    return Batch(batch.inputs, keep, labels)


class Ragged(Tokens):
    """Rows of which very different parts are excluded, and many whole rows."""

    def train_rows(self, indices: torch.Tensor) -> Batch:
        batch = super().train_rows(indices)
        length = batch.inputs["input_ids"][:, :1] % (CONTEXT + 1)
        keep = (torch.arange(CONTEXT) < length) & (batch.inputs["input_ids"][:, 1:2] % 3 > 0)
        return Batch(batch.inputs, keep, batch.labels)


class MLP(nn.Module):
    """A small network on vectors."""

    def __init__(self) -> None:
        super().__init__()
        self.hidden = nn.Linear(10, 16)
        self.out = nn.Linear(16, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.out(self.hidden(x).relu())


def mlp() -> Host:
    """Return a random MLP as a host."""
    torch.manual_seed(0)
    return Host(MLP(), name="mlp")


def vectors() -> TensorData:
    """Return random vectors for the MLP, one position a row."""
    return TensorData(torch.randn(200, 10, generator=torch.Generator().manual_seed(0)), held_out=0.1)


class Spoilt(TensorData):
    """Vectors of which the last row of batch 3 turns out not to be numbers."""

    def __init__(self) -> None:
        super().__init__(torch.randn(200, 10, generator=torch.Generator().manual_seed(0)), held_out=0.1)

    def train_rows(self, indices: torch.Tensor) -> Batch:
        batch = super().train_rows(indices)
        batch.inputs[indices == self.train_indices(3, ROWS)[-1]] = math.nan
        return batch


class Jumping(TensorData):
    """Vectors of which batches 7 and 8 are a thousand times as long."""

    def __init__(self) -> None:
        super().__init__(torch.randn(200, 10, generator=torch.Generator().manual_seed(0)), held_out=0.1)

    def train_rows(self, indices: torch.Tensor) -> Batch:
        batch = super().train_rows(indices)
        for step in (7, 8):
            batch.inputs[torch.isin(indices, self.train_indices(step, ROWS))] *= 1000
        return batch


VECTORS = {"site": "hidden", "architecture": {"kind": "topk", "n_latents": 50, "k": 4}}
"""A dictionary for the MLP."""
HOSTS = {"llama": host, "other llama": lambda: host(seed=1), "mlp": mlp}
DATA: dict[str, Any] = {
    "tokens": Tokens,
    "other tokens": lambda: Tokens(seed=1),
    "ragged": Ragged,
    "vectors": vectors,
    "spoilt": Spoilt,
    "jumping": Jumping,
}


def dictionaries() -> dict[str, Any]:
    """Return one dictionary of each objective; the TopK one has dead latents, so that every counter matters."""
    relu = {"kind": "relu", "n_latents": 40, "l1": 0.5}
    return {
        "local": {"site": "layers.1", "architecture": relu, "objective": {"kind": "local"}, "lr": 2e-3},
        "e2e": {"site": "layers.1", "architecture": {"kind": "topk", "n_latents": 64, "k": 3}, "objective": {"kind": "e2e"}},
        "e2e+ds": {"site": "layers.0", "architecture": relu, "objective": {"kind": "e2e+ds"}, "seed": 3},
    }


def config(steps: int = 6, **changes: Any) -> FitConfig:
    """Return the config of a fit of so many steps."""
    values: dict[str, Any] = {
        "dictionaries": dictionaries(), "tokens": steps * ROWS * CONTEXT, "batch_rows": ROWS, "sample_rows": 4,
        "dead_after": 2 * ROWS * CONTEXT, "checkpoint_seconds": 0, "log_every": 1, "warmup": 0.2,
    }  # fmt: skip
    return build(FitConfig, values | changes)


def weights(run: Any) -> dict[str, bytes]:
    """Return the bytes of every dictionary's weights."""
    return {path.parent.name: path.read_bytes() for path in sorted(run.glob("dictionaries/*/weights.safetensors"))}


def tensors(run: Any) -> dict[str, torch.Tensor]:
    """Return every tensor of every dictionary."""
    files = sorted(run.glob("dictionaries/*/weights.safetensors"))
    return {f"{path.parent.name}/{key}": value for path in files for key, value in load_file(path).items()}
