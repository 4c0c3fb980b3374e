"""sparsify's own Trainer; a step is one turn of the loop inside its `fit`, which waits for leave before each batch."""

from __future__ import annotations

import importlib.metadata
import queue
import tempfile
import threading

import torch
from sparsify import SparseCoderConfig, TrainConfig, Trainer
from task import LEARNING_RATE, Contender, Task
from torch import Tensor, nn

ARCHITECTURES = {"sparsify": ("topk",)}


def version() -> str:
    """Return the library's version."""
    return f"eai-sparsify {importlib.metadata.version('eai-sparsify')}"


class GatedHost(nn.Module):
    """Stands where the language model does: its forward waits for the next step, then hands out that step's activations."""

    device = torch.device("cpu")
    dummy_inputs: dict[str, Tensor] = {}  # noqa: RUF012 - the name and form that sparsify reads

    def __init__(self, task: Task) -> None:
        super().__init__()
        self.site, self.task = nn.Identity(), task
        self.asked: queue.Queue[int] = queue.Queue()
        self.waiting: queue.Queue[BaseException | None] = queue.Queue()
        self.gated = False

    @property
    def base_model(self) -> nn.Module:
        return self

    def forward(self, _: Tensor | None = None) -> Tensor:
        if not self.gated:  # the Trainer looks up the site's width
            return self.site(torch.zeros(1, 1, self.task.width))
        self.waiting.put(None)
        return self.site(self.task.batch(self.asked.get()).unsqueeze(0))


class Prompts:
    """As many one-prompt batches as are ever asked for."""

    def __init__(self, tokens: int) -> None:
        self.row = {"input_ids": torch.ones(tokens, dtype=torch.long)}

    def __len__(self) -> int:
        return 1_000_000

    def __getitem__(self, _: int) -> dict[str, Tensor]:
        return self.row


def make(name: str, task: Task) -> Contender:
    """Return sparsify's Trainer with its defaults, held before its first batch."""
    host = GatedHost(task)
    config = TrainConfig(
        SparseCoderConfig(num_latents=task.latents, k=task.k), batch_size=1, hookpoints=["site"], lr=LEARNING_RATE,
        log_to_wandb=False, save_every=10**9, save_dir=tempfile.gettempdir(),
    )  # fmt: skip
    trainer = Trainer(config, Prompts(task.tokens), host)
    host.gated = True

    def fit() -> None:
        try:
            trainer.fit()
        except BaseException as error:  # noqa: BLE001 - raised again where the step was asked for
            host.waiting.put(error)

    threading.Thread(target=fit, daemon=True).start()

    def arrive() -> None:
        if (error := host.waiting.get()) is not None:
            raise error

    def step(i: int) -> None:
        host.asked.put(i)
        arrive()

    arrive()

    def l0() -> float:
        with torch.no_grad():
            values = trainer.saes["site"].encode(task.batch(0)).top_acts
        return float((values > 0).sum(dim=-1).double().mean())

    return Contender(step, l0)
