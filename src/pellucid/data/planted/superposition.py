"""The toy model of superposition: sparse features through a bottleneck, the loss of which falls with its width."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor

from pellucid.core.config import Config
from pellucid.data.planted.base import AtomRule
from pellucid.data.source import seeded


class ToyConfig(Config):
    """Toy model of superposition; the defaults are a short form of the released experiments' first setting."""

    n_features: int = Field(default=1000, ge=2)
    """Features n, most frequent first."""
    width: int = Field(default=40, ge=1)
    """Width m of the bottleneck."""
    alpha: float = Field(default=1.0, ge=0, allow_inf_nan=False)
    """Exponent of the frequencies, p_i ~ i^-alpha."""
    density: float = Field(default=1.0, gt=0, allow_inf_nan=False)
    """Features active in a row on average, E."""
    decay: float = Field(default=-1.0, ge=-2, le=2)
    """gamma: above 0 weight decay; below 0 rows of W are drawn to length 1."""
    steps: int = Field(default=2500, ge=1)
    """Updates."""
    batch: int = Field(default=512, ge=1)
    """Rows in an update, new ones each time."""
    lr: float = Field(default=1e-2, gt=0)
    """Peak learning rate of Adam."""
    warmup: float = Field(default=0.1, ge=0, lt=1)
    """Share of the updates over which the learning rate rises; a cosine to 5% follows."""
    seed: int = Field(default=0, ge=0)
    """Decides the start and every row."""


@dataclass(frozen=True)
class Toy:
    """A trained toy model."""

    rows: Float[Tensor, "n m"]
    """W: one row for each feature."""
    bias: Float[Tensor, " n"]
    """b."""
    loss: float
    """L over fresh rows."""

    @property
    def represented(self) -> float:
        """phi_half: share of rows of W longer than 1/2."""
        return float((self.rows.norm(dim=1) > 0.5).double().mean())


def frequencies(n_features: int, alpha: float, density: float) -> Float[Tensor, " n"]:
    """Return p_i = i^-alpha for i = 1 .. n, multiplied so that they sum to `density`, at most 1; float64."""
    weights = torch.arange(1, n_features + 1, dtype=torch.float64) ** -alpha
    return (density * weights / weights.sum()).clamp_max(1)


def mean_squared_overlap(rows: Float[Tensor, "n m"]) -> float:
    """Return the mean over pairs i != j of cos(W_i, W_j)^2; about 1 / m for random rows."""
    unit = torch.nn.functional.normalize(rows.double(), dim=1)
    n = len(rows)
    return float(((unit @ unit.T).square().sum() - n) / (n * (n - 1)))


def welch_bound(n: int, m: int) -> float:
    """Return sqrt((n - m) / (m (n - 1))), which the largest |cosine| of n directions in m < n dimensions cannot go below."""
    return ((n - m) / (m * (n - 1))) ** 0.5


def train_toy(config: ToyConfig) -> Toy:
    """Train W and b on sparse rows (Liu et al. 2025, arXiv 2505.10465).

    x_i = u_i v_i, u_i ~ Bernoulli(p_i), v_i ~ U(0, 2);  y = ReLU(W W' x + b);  L = E |y - x|^2
    each update also W -= eta gamma W for gamma >= 0, else W_i -= eta gamma W_i (1 / |W_i| - 1)
    """
    generator = seeded("superposition", config.seed)
    p = frequencies(config.n_features, config.alpha, config.density).float()
    rows = torch.randn(config.n_features, config.width, generator=generator) / config.width**0.5
    rows.requires_grad_()
    bias = torch.randn(config.n_features, generator=generator).requires_grad_()
    optimizer = torch.optim.Adam([rows, bias], lr=config.lr, fused=True)
    for step in range(config.steps):
        rate = config.lr * _shape(step, config)
        optimizer.param_groups[0]["lr"] = rate
        with torch.no_grad():
            lengths = rows.norm(dim=1, keepdim=True).clamp_min(1e-12)
            rows -= rate * config.decay * rows * (1 if config.decay >= 0 else 1 / lengths - 1)
        loss = _loss(rows, bias, _draw(p, config.batch, generator))
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
    with torch.no_grad():
        losses = [float(_loss(rows, bias, _draw(p, 1024, generator))) for _ in range(16)]
    return Toy(rows.detach(), bias.detach(), sum(losses) / len(losses))


class Superposition(AtomRule):
    """Features lie where a toy model of superposition puts them; its n features and width m are the data's."""

    kind: Literal["superposition"] = "superposition"
    """Name of the rule."""
    alpha: float = Field(default=1.0, ge=0, allow_inf_nan=False)
    """Exponent of the frequencies that the toy model is trained on."""
    steps: int = Field(default=1000, ge=1)
    """Updates of the toy model."""

    def make(self, n_features: int, width: int, generator: torch.Generator) -> Float[Tensor, "a d"]:
        """Train the toy model (drawn to rows of length 1) and return its rows as unit directions."""
        config = ToyConfig(
            n_features=n_features, width=width, alpha=self.alpha, steps=self.steps, seed=generator.initial_seed() % 2**31
        )
        return torch.nn.functional.normalize(train_toy(config).rows, dim=1)

    def problems(self, n_features: int, width: int) -> list[str]:
        """Return whether there is nothing to superpose."""
        return ["atoms 'superposition' needs 2 features or more"] if n_features < 2 else []


def _draw(p: Float[Tensor, " n"], rows: int, generator: torch.Generator) -> Float[Tensor, "rows n"]:
    active = torch.rand(rows, len(p), generator=generator) < p
    return active * (2 * torch.rand(rows, len(p), generator=generator))


def _loss(rows: Float[Tensor, "n m"], bias: Float[Tensor, " n"], x: Float[Tensor, "batch n"]) -> Float[Tensor, ""]:
    return ((x @ rows @ rows.T + bias).relu() - x).square().sum(dim=1).mean()


def _shape(step: int, config: ToyConfig) -> float:
    """Learning rate as a share of its peak."""
    warm = max(1, round(config.warmup * config.steps))
    if step < warm:
        return (step + 1) / warm
    share = torch.tensor((step - warm) / max(1, config.steps - warm) * torch.pi)
    return float(0.05 + 0.95 * (1 + share.cos()) / 2)
