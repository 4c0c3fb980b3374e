"""What dictionaries are trained on: four planted regimes and a language model's activations, with their budgets."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, lru_cache

import torch
from jaxtyping import Float
from torch import Tensor, nn

from pellucid.core.errors import ConfigError, did_you_mean
from pellucid.data import DataSource, PlantedData, TextConfig, load_text
from pellucid.data.planted import regime
from pellucid.evaluation.bench.budgets import budget
from pellucid.evaluation.bench.options import DictionaryBenchOptions
from pellucid.evaluation.evaluate import mean_activations
from pellucid.hosts import Host, Site

PLANTED = ("independent", "hierarchy", "interference", "heavy_tailed")
HOST = "host"
BEDS = (*PLANTED, HOST)
EASIEST = "independent"
BATCH = 256
"""Planted rows in a step."""


@dataclass(frozen=True, kw_only=True)
class Bed:
    """Data and budget; the same for every architecture."""

    name: str
    site: str
    n_latents: int
    target_l0: float
    """L0 at which architectures are compared: the true one, or for a host a usual one."""
    tokens: int
    """Positions that each dictionary is trained on."""
    batch_rows: int
    sample_rows: int
    lr: float
    """Peak learning rate that settings begin with."""
    levels: int
    """Settings of sparsity that are tried first."""
    refined: tuple[tuple[float, float], ...]
    """Further settings: (multiple of the learning rate, multiple of the target L0 that sparsity is set for)."""
    seeds: int
    """Seeds of the setting nearest the target, for stability."""
    rows: int
    """Held-out rows for scores."""
    dead_after: int
    seed: int
    host_name: str = ""

    @property
    def planted(self) -> bool:
        """True if the truth is known."""
        return self.name != HOST

    @cached_property
    def host(self) -> Host:
        """The network: for planted data one that passes vectors on."""
        if self.planted:
            return Host(nn.Sequential(nn.Identity()), name="vectors")
        return Host.load(self.host_name)

    @cached_property
    def data(self) -> DataSource:
        """The rows."""
        if self.planted:
            return PlantedData(regime(self.name, seed=self.seed, held_out=self.rows))
        return load_text(TextConfig(exclude_first=4, seed=self.seed), self.host.tokenizer)

    @cached_property
    def scale(self) -> float:
        """Root mean square distance of activations from their mean: what settings in the data's units are multiples of."""
        batch = self.data.train_batch(0, min(self.sample_rows, 1024))
        with torch.no_grad():
            value = self.host.run(batch.inputs, capture=[self.host.site(self.site)]).values[self.host.site(self.site)]
        rows = value[batch.keep] if batch.keep is not None else value.flatten(0, -2)
        return float((rows.double() - rows.double().mean(dim=0)).square().sum(dim=1).mean().sqrt())

    @cached_property
    def held_out(self) -> list[Float[Tensor, "n d"]]:
        """The site's values of the held-out rows, a batch each."""
        site, size, found = self.host.site(self.site), 4096 if self.planted else 4, []
        with torch.no_grad():
            for batch in self.data.held_out_batches(size, self.rows):
                value = self.host.run(batch.inputs, capture=[site]).values[site]
                found.append((value[batch.keep] if batch.keep is not None else value.flatten(0, -2)).float())
        return found

    @cached_property
    def means(self) -> dict[Site, Float[Tensor, " d"]]:
        """The site's mean activation, which mean ablation puts."""
        return mean_activations(self.host, self.data, [self.host.site(self.site)])


@lru_cache  # a worker keeps its beds: reading text takes longer than a cell
def make_bed(name: str, options: DictionaryBenchOptions) -> Bed:
    """Return a bed with the budget that the options ask for; ConfigError if the name is unknown."""
    if name not in BEDS:
        raise ConfigError(f"unknown bed {name!r}.{did_you_mean(name, BEDS)} Known: {', '.join(BEDS)}")
    found = budget(options)
    if name == HOST:
        return Bed(
            name=name, site=options.site, host_name=options.host, n_latents=found.host_latents, target_l0=32.0,
            tokens=found.host_tokens, batch_rows=found.host_batch_rows, sample_rows=found.host_sample_rows, lr=2e-3, levels=3,
            refined=found.host_refined, seeds=2, rows=found.host_rows, dead_after=found.host_dead_after, seed=options.seed,
        )  # fmt: skip
    steps = found.easiest_steps if name == EASIEST else found.steps
    return Bed(
        name=name, site="0", n_latents=regime(name).n_features, target_l0=_true_l0(name), tokens=steps * BATCH,
        batch_rows=BATCH, sample_rows=1024, lr=found.planted_lr, levels=3, refined=found.planted_refined, seeds=2,
        rows=found.planted_rows, dead_after=20 * BATCH, seed=options.seed,
    )  # fmt: skip


def _true_l0(name: str) -> float:
    """Mean number of active features, over rows of a stream of its own."""
    data = PlantedData(regime(name, seed=99))
    active = data.truth(torch.arange(20_000), held_out=True).coefficients != 0
    return round(float(active.double().sum(dim=1).mean()), 2)
