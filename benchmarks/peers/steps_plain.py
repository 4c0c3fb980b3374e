"""The floor and what anyone would write first: the encoder product alone, and a dense step in plain PyTorch."""

from __future__ import annotations

import torch
from task import LEARNING_RATE, Contender, Task, mean_l0
from torch import Tensor, nn
from torch.nn.functional import linear, mse_loss, normalize

ARCHITECTURES = {
    "product": ("topk", "batch_topk", "jumprelu", "relu"),
    "product_fresh": ("topk", "batch_topk", "jumprelu", "relu"),
    "plain": ("topk", "batch_topk", "relu"),
}

ANY_DEVICE = True


def version() -> str:
    """Return PyTorch's version."""
    return f"torch {torch.__version__}"


def make(name: str, task: Task) -> Contender:
    """Return the contender of that name."""
    return dense(task) if name == "plain" else product(task, fresh=name == "product_fresh")


def product(task: Task, fresh: bool) -> Contender:
    """batch @ W.T, into memory that is there already or (fresh) into a new tensor each time."""
    weights = torch.randn(task.latents, task.width).to(task.device)
    buffer = torch.empty(0 if fresh else task.tokens, task.latents, device=task.device)

    def step(i: int) -> object:
        return torch.mm(task.batch(i), weights.T) if fresh else torch.mm(task.batch(i), weights.T, out=buffer)

    return Contender(step, lambda: float("nan"))


class Dense(nn.Module):
    """Encoder and decoder of a sparse autoencoder, everything [tokens, latents] written out."""

    def __init__(self, task: Task) -> None:
        super().__init__()
        self.decoder = nn.Parameter(normalize(torch.randn(task.latents, task.width), dim=-1))
        self.encoder = nn.Parameter(self.decoder.detach().clone())
        self.encoder_bias, self.decoder_bias = nn.Parameter(torch.zeros(task.latents)), nn.Parameter(torch.zeros(task.width))
        self.architecture, self.k = task.architecture, task.k

    def preactivations(self, x: Tensor) -> Tensor:
        return linear(x - self.decoder_bias, self.encoder, self.encoder_bias)

    def encode(self, x: Tensor) -> Tensor:
        codes = self.preactivations(x).relu()
        if self.architecture == "relu":
            return codes
        rows = codes if self.architecture == "topk" else codes.reshape(1, -1)
        best = rows.topk(self.k * len(codes) // len(rows), dim=-1)
        return torch.zeros_like(rows).scatter(-1, best.indices, best.values).reshape(codes.shape)


def dense(task: Task) -> Contender:
    """A whole step: mean squared error (and an L1 for relu), gradients, clipping, Adam, unit atoms."""
    torch.manual_seed(0)
    model = Dense(task).to(task.device)
    if task.architecture == "relu":
        model.encoder_bias.data -= task.cut(model.preactivations)
    optimizer = torch.optim.Adam(model.parameters(), lr=LEARNING_RATE)

    def step(i: int) -> None:
        x = task.batch(i)
        codes = model.encode(x)
        loss = mse_loss(codes @ model.decoder + model.decoder_bias, x)
        if task.architecture == "relu":
            loss = loss + codes.sum(dim=-1).mean() / task.width
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        with torch.no_grad():
            gradient = model.decoder.grad
            assert gradient is not None
            gradient -= (gradient * model.decoder).sum(dim=-1, keepdim=True) * model.decoder
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        with torch.no_grad():
            model.decoder.copy_(normalize(model.decoder, dim=-1))

    return Contender(step, lambda: mean_l0(model.encode(task.batch(0))))
