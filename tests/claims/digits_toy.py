"""The digits toy of the end-to-end sheet, trained whole through pellucid's own objects: python digits_toy.py RUN."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from pellucid.data import Batch, TensorData
from pellucid.dictionaries import ReluConfig
from pellucid.evaluation.run import evaluate_run
from pellucid.hosts import Host
from pellucid.training import DictionaryConfig, EndToEnd, EndToEndDownstream, FitConfig, Local, fit

LAMBDAS = {"local": (1.0, 2.0, 3.0), "e2e": (0.3, 1.0, 2.0), "e2e+ds": (10.0, 20.0, 30.0)}
STEPS, ROWS, NOISE = 1200, 128, 0.1


class Block(nn.Module):
    """Adds to the stream."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.up, self.down = nn.Linear(width, 2 * width), nn.Linear(2 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.down(self.up(x).relu())


class ResidualMLP(nn.Module):
    """Width 64, four blocks, ten classes."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Linear(64, 64)
        self.blocks = nn.ModuleList(Block(64) for _ in range(4))
        self.head = nn.Linear(64, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = self.embed(x)
        for block in self.blocks:
            x = block(x)
        return self.head(x)


class NoisyDigits(TensorData):
    """scikit-learn's 8x8 digits in [0, 1] with new input noise at every training step; a fifth is held out."""

    def __init__(self) -> None:
        from sklearn.datasets import load_digits

        digits = load_digits()
        pixels = torch.tensor(digits.data, dtype=torch.float32) / 16
        super().__init__(pixels, torch.tensor(digits.target, dtype=torch.int64), held_out=0.2)

    def train_batch(self, step: int, size: int) -> Batch:
        return _noisy(super().train_batch(step, size), seed=step + 1)

    def held_out_rows(self, indices: Tensor) -> Batch:
        return _noisy(super().held_out_rows(indices), seed=0)


def _noisy(batch: Batch, seed: int) -> Batch:
    noise = torch.randn(batch.inputs.shape, generator=torch.Generator().manual_seed(seed))
    return Batch(batch.inputs + NOISE * noise, batch.keep, batch.labels)


def _classifier(data: NoisyDigits) -> ResidualMLP:
    torch.manual_seed(0)
    module = ResidualMLP()
    optimizer = torch.optim.Adam(module.parameters(), lr=1e-3)
    for step in range(600):
        batch = data.train_batch(step, ROWS)
        optimizer.zero_grad()
        nn.functional.cross_entropy(module(batch.inputs), batch.labels).backward()
        optimizer.step()
    return module


def scored(run: Path) -> list[dict[str, Any]]:
    """Fit and score dictionaries on the stream before block 2: 256 atoms, 1,200 steps of Adam at 1e-3, all in one pass."""
    data = NoisyDigits()
    host = Host(_classifier(data), name="digits")
    with torch.no_grad():
        batch = data.held_out_rows(torch.arange(data.n_held_out))
        accuracy = float((host.module(batch.inputs).argmax(-1) == batch.labels).double().mean())
    assert accuracy > 0.95, "the toy needs a classifier that has learnt its task"
    objectives = {"local": Local(), "e2e": EndToEnd(), "e2e+ds": EndToEndDownstream()}
    dictionaries = {
        f"{kind} {l1:g}": DictionaryConfig(
            site="layers.1",  # the output of block 1 is the stream before block 2
            architecture=ReluConfig(n_latents=256, l1=l1),
            objective=objectives[kind],
            lr=1e-3,
        )
        for kind, lambdas in LAMBDAS.items()
        for l1 in lambdas
    }
    config = FitConfig(
        dictionaries=dictionaries, tokens=STEPS * ROWS, batch_rows=ROWS, warmup=0.0, final_lr=1.0, checkpoint_seconds=1e6
    )
    fit(config, run, host=host, data=data)
    return evaluate_run(run, host, data, batch_rows=512)["dictionaries"]


if __name__ == "__main__":
    scored(Path(sys.argv[1]))
