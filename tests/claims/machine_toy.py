"""A transformer whose every attention and MLP output passes through a codebook, on walks of a machine.

python machine_toy.py SCORES.json SIZE: trained from scratch, codes and all; SIZE is 'small' or 'whole'.
"""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, scaled_dot_product_attention

from pellucid.circuits import best_codes, jensen_shannon
from pellucid.data import MachineConfig, MachineData
from pellucid.dictionaries import CodebookConfig, CodebookDictionary, make_dictionary


@dataclass(frozen=True)
class Size:
    """Machine, model and training."""

    machine: MachineConfig
    width: int
    layers: int
    heads: int
    codes: int
    batch: int
    steps: int
    lr: float
    evaluated: int = 1000


SIZES = {
    "small": Size(MachineConfig(n_states=16, n_edges=3, base=4, length=6), 48, 2, 2, 64, 64, 60, 3e-3),
    "whole": Size(MachineConfig(), 128, 4, 4, 1000, 512, 20_000, 1e-3),
}
LEAST_RECALL = 0.1
PULL = 1.0


class Bottleneck(nn.Module):
    """Passes a value on, or its code once it has a codebook; `forced` puts one code in the place of some positions' own."""

    def __init__(self, groups: int) -> None:
        super().__init__()
        self.groups = groups
        self.book: CodebookDictionary | None = None
        self.seen: Tensor | None = None
        self.pull: Tensor | float = 0.0
        self.labels: Tensor | None = None
        self.forced: tuple[Tensor, int] | None = None

    def forward(self, x: Tensor) -> Tensor:
        if self.book is None:
            self.seen = x.detach().flatten(0, 1)
            return x
        rows = x.flatten(0, 1)
        forward = self.book(rows)
        self.pull = sum(self.book.penalty(forward, rows, torch.zeros(self.book.n_latents, dtype=torch.bool)).values())
        codes = forward.codes
        self.labels = codes.unflatten(-1, (self.groups, -1)).argmax(dim=-1).view(*x.shape[:2], self.groups)
        out = forward.reconstruction.view_as(x)
        if self.forced is not None:
            where, code = self.forced
            out = torch.where(where.unsqueeze(-1), self.book.decoder[code], out)
        return out

    def start(self, codes: int, generator: torch.Generator) -> None:
        """Put a codebook here, its codes at values seen in the last pass."""
        assert self.seen is not None
        config = CodebookConfig(n_latents=codes * self.groups, n_groups=self.groups, k=1, pull=PULL)
        made = make_dictionary(config, self.seen.shape[-1], generator, self.seen)
        assert isinstance(made, CodebookDictionary)
        self.book = made


class Block(nn.Module):
    """Attention and MLP, both added to the stream through a bottleneck; that of attention has a codebook for each head."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norms = nn.ModuleList([nn.LayerNorm(width), nn.LayerNorm(width)])
        self.mix, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)
        self.bottlenecks = nn.ModuleList([Bottleneck(heads), Bottleneck(1)])

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = (part.unflatten(-1, (self.heads, -1)).transpose(1, 2) for part in self.mix(self.norms[0](x)).chunk(3, dim=-1))
        z = scaled_dot_product_attention(q, k, v, is_causal=True).transpose(1, 2).flatten(2)
        x = x + self.out(self.bottlenecks[0](z))
        return x + self.bottlenecks[1](self.down(nn.functional.gelu(self.up(self.norms[1](x)))))


class Model(nn.Module):
    """A small language model."""

    def __init__(self, size: Size) -> None:
        super().__init__()
        vocabulary, machine = size.machine.base + 1, size.machine
        self.embed = nn.Embedding(vocabulary, size.width)
        self.places = nn.Embedding((machine.length + 1) * machine.period + 1, size.width)
        self.blocks = nn.ModuleList(Block(size.width, size.heads) for _ in range(size.layers))
        self.norm, self.head = nn.LayerNorm(size.width), nn.Linear(size.width, vocabulary)

    @property
    def bottlenecks(self) -> list[Bottleneck]:
        return [module for module in self.modules() if isinstance(module, Bottleneck)]

    def forward(self, ids: Tensor) -> Tensor:
        x = self.embed(ids) + self.places(torch.arange(ids.shape[1]))
        for block in self.blocks:
            x = block(x)
        return self.head(self.norm(x))


def trained(size: Size) -> tuple[Model, MachineData]:
    """Train model and codes together on next-token loss and the codes' pull."""
    torch.manual_seed(0)
    data, model, generator = MachineData(size.machine), Model(size), torch.Generator().manual_seed(0)
    with torch.no_grad():
        model(data.train_batch(0, max(size.batch, size.codes)).inputs)
    for bottleneck in model.bottlenecks:
        bottleneck.start(size.codes, generator)
    optimizer = torch.optim.Adam(model.parameters(), lr=size.lr)
    for step in range(size.steps):
        batch = data.train_batch(step, size.batch)
        loss = cross_entropy(model(batch.inputs).flatten(0, 1), batch.labels.flatten())
        loss = loss + sum(bottleneck.pull for bottleneck in model.bottlenecks)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.param_groups[0]["lr"] = size.lr * min(1.0, 2 * (1 - step / size.steps))
        optimizer.step()
    return model.eval(), data


@torch.no_grad()
def scores(model: Model, data: MachineData, size: Size) -> dict[str, Any]:
    """Return what the sheet asks for, on held-out walks."""
    rows = torch.arange(size.evaluated)
    states, period = data.states(rows, held_out=True), data.config.period
    ids = data.held_out_rows(rows).inputs
    found: dict[str, Any] = {"legal": _legal(model, data, ids, states)}
    logits = model(ids)
    places = torch.arange(period, ids.shape[1], period)  # separators after a state
    before = states[:, :-1].flatten()
    per_site = {}
    for site, bottleneck in enumerate(model.bottlenecks):
        assert bottleneck.labels is not None
        for group in range(bottleneck.groups):
            codes = bottleneck.labels[:, places, group].flatten()
            per_site[site, group] = best_codes(codes, before, data.config.n_states, LEAST_RECALL)
    best = torch.stack([each.precision for each in per_site.values()])
    found["precision"] = best.amax(dim=0).tolist()
    mlps = {key: each for key, each in per_site.items() if model.bottlenecks[key[0]].groups == 1}
    (site, _), chosen = max(mlps.items(), key=lambda item: float(item[1].precision.mean()))
    clean = logits[:, places].softmax(dim=-1).flatten(0, 1)
    found["divergence"] = _interventions(model, site, chosen.code, ids, places, before, clean)
    return found


def _legal(model: Model, data: MachineData, ids: Tensor, states: Tensor) -> float:
    """Share of rows after whose last state the model's own digits, each the likeliest, are a state that may follow."""
    base = data.config.base
    ids = torch.cat([ids, torch.full((len(ids), 1), base)], dim=1)
    after = torch.zeros(len(ids), dtype=torch.int64)
    for _ in range(data.config.digits):
        digit = model(ids)[:, -1].argmax(dim=-1)
        after = torch.where(digit < base, after * base + digit, -(10**6))
        ids = torch.cat([ids, digit.unsqueeze(1)], dim=1)
    return float(data.legal(states[:, -1], after).double().mean())


def _interventions(
    model: Model, site: int, codes: Tensor, ids: Tensor, places: Tensor, before: Tensor, clean: Tensor
) -> dict[str, list[float]]:
    """Divergence to each target state's mean distribution where another state was read: as it is, with the target's code
    in the place of the site's own, and with another state's code."""
    found: dict[str, list[float]] = {"clean": [], "own": [], "random": []}
    generator, bottleneck = torch.Generator().manual_seed(1), model.bottlenecks[site]
    rows, where = min(len(ids), 200), torch.zeros(ids.shape, dtype=torch.bool)
    where[:, places] = True
    usable = codes[codes >= 0].unique()
    for state, code in enumerate(codes.tolist()):
        if code < 0 or not bool((before == state).any()):
            continue
        target = clean[before == state].mean(dim=0)
        others = usable[usable != code]
        if not len(others):  # all states share one code: nothing else could be put in its place
            continue
        stranger = int(others[torch.randint(len(others), (1,), generator=generator)])
        elsewhere = before[: rows * len(places)] != state
        for name, forced in {"clean": None, "own": code, "random": stranger}.items():
            bottleneck.forced = None if forced is None else (where[:rows], forced)
            distribution = model(ids[:rows])[:, places].softmax(dim=-1).flatten(0, 1)[elsewhere]
            found[name].append(float(jensen_shannon(distribution, target.expand_as(distribution)).mean()))
        bottleneck.forced = None
    return found


if __name__ == "__main__":
    chosen = SIZES[sys.argv[2]]
    Path(sys.argv[1]).write_text(json.dumps(scores(*trained(chosen), chosen), indent=1))
