"""Dictionaries over a grid of sizes and penalties on the toy sheet's data: python superposition_toy.py SCORES.json [whole]."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from pellucid.data import PlantedConfig, PlantedData
from pellucid.data.planted import Correlated, Uniform
from pellucid.dictionaries import Dictionary, ReluConfig, make_dictionary
from pellucid.evaluation.similarity import best_cosines, histogram_by_rate, mmcs
from pellucid.evaluation.stability import agreement, doubling, live, next_larger
from pellucid.training.objectives import Evidence, Local

H, G, BATCH, LR = 32, 64, 256, 3e-3
SMALL: dict[str, Any] = {"steps": 1500, "alphas": (0.01, 0.3, 1.0, 3.0, 10.0), "sizes": (32, 64, 128)}
WHOLE: dict[str, Any] = {"steps": 4000, "alphas": tuple(10 ** (k / 2) for k in range(-4, 5)), "sizes": (16, 32, 64, 128, 256)}
GOOD, DENSE = (1.0, 128), (0.01, 128)
"""Cells of which more is asked: the one the sheet finds best, and one whose penalty is too small."""


def planted(decay: float = 0.97, held_out: int = 20_480) -> PlantedData:
    """Return correlated features with one z for a block of rows; magnitudes are uniform in [0, 1]."""
    firing = Correlated(active=3.0, decay=decay, per="block")
    coefficients = Uniform(low=0.0, high=1.0)
    config = PlantedConfig(n_features=G, width=H, firing=firing, coefficients=coefficients, fill_empty=True, held_out=held_out)
    return PlantedData(config)


class Pupil:
    """A ReLU dictionary with unit atoms and no decoder bias; alpha / size is the weight of a row's summed codes."""

    def __init__(self, alpha: float, size: int, seed: int = 0) -> None:
        config = ReluConfig(n_latents=size, l1=alpha * H / size)
        self.dictionary: Dictionary = make_dictionary(config, H, torch.Generator().manual_seed(seed))
        self.dictionary.decoder_bias.requires_grad_(False)
        self.dead = torch.zeros(size, dtype=torch.bool)
        learnt = [p for p in self.dictionary.parameters() if p.requires_grad]
        self.optimizer = torch.optim.Adam(learnt, lr=LR, fused=True)

    def step(self, x: Tensor) -> None:
        """Take one step of Adam."""
        forward = self.dictionary(x)
        loss = Local().terms(Evidence(x, forward.reconstruction))["mse"]
        loss = loss + self.dictionary.penalty(forward, x, self.dead)["sparsity"]
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        self.optimizer.step()

    def atoms(self) -> Tensor:
        """Return the unit atoms."""
        return self.dictionary.atoms().detach()


def grid(plan: dict[str, Any]) -> dict[str, Any]:
    """Train the grid and what is asked beside it; return every number the claims need."""
    data = planted()
    cells = {(alpha, size): Pupil(alpha, size) for alpha in plan["alphas"] for size in plan["sizes"]}
    extra = {"good again": Pupil(*GOOD, seed=1), "dense again": Pupil(*DENSE, seed=1), "wide": Pupil(GOOD[0], 4 * G)}
    for number in range(plan["steps"]):
        x = data.train_batch(number, BATCH).inputs
        for pupil in [*cells.values(), *extra.values()]:
            pupil.step(x)
    held_out = data.truth(torch.arange(data.n_held_out), held_out=True)
    rates = (held_out.coefficients > 0).float().mean(dim=0)
    scored = [_scores(pupil, alpha, size, cells, data, held_out.x, rates) for (alpha, size), pupil in cells.items()]
    found = {"cells": scored, "seeds": {}, "wide": _codes(extra["wide"], held_out.x)[1]}
    for name, cell in (("good", GOOD), ("dense", DENSE)):
        pair = [cells[cell], extra[f"{name} again"]]
        found["seeds"][name] = agreement([pupil.atoms()[live(_codes(pupil, held_out.x)[0])] for pupil in pair]).mmcs
    once = cells[GOOD].atoms()
    for number in range(plan["steps"], 2 * plan["steps"]):
        cells[GOOD].step(data.train_batch(number, BATCH).inputs)
    return {**found, "doubling": vars(doubling(once, cells[GOOD].atoms(), data.atoms))}


def _codes(pupil: Pupil, x: Tensor) -> tuple[Tensor, int]:
    """Return the codes of ten batches and how many latents are not dead on them."""
    with torch.no_grad():
        codes = pupil.dictionary(x[: 10 * BATCH]).codes
    return codes, int(live(codes).sum())


def _scores(
    pupil: Pupil, alpha: float, size: int, cells: dict[Any, Pupil], data: PlantedData, x: Tensor, rates: Tensor
) -> dict[str, Any]:
    best = best_cosines(data.atoms, pupil.atoms())
    with torch.no_grad():
        forward = pupil.dictionary(x)
    larger = cells.get((alpha, 2 * size))
    return {
        "alpha": alpha,
        "size": size,
        "mmcs": mmcs(data.atoms, pupil.atoms()),
        "above_90": float((best > 0.9).double().mean()),
        "rank_correlation": histogram_by_rate(best, rates).rank_correlation,
        "dead": size - _codes(pupil, x)[1],
        "loss": float((x - forward.reconstruction).square().mean()),
        "agreement": next_larger(pupil.atoms(), larger.atoms()) if larger else None,
    }


if __name__ == "__main__":
    torch.set_num_threads(1)
    Path(sys.argv[1]).write_text(json.dumps(grid(WHOLE if "whole" in sys.argv[2:] else SMALL), indent=2))
