"""Archetypal dictionaries of handwritten digits, two seeds each, beside TopK: python archetypal_toy.py SCORES.json."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pellucid.dictionaries import (
    ArchetypalConfig,
    ArchetypalDictionary,
    ArchitectureBase,
    Dictionary,
    TopKConfig,
    make_dictionary,
)
from pellucid.evaluation.reconstruction import Reconstruction
from pellucid.evaluation.recovery import match

M, K, STEPS, BATCH, POINTS = 64, 6, 500, 256, 128
DELTAS = (0.0, 0.1, 0.3, 100.0)
ATOMS = 24
"""Atoms whose distance from the hull is solved for."""


def digits_rows() -> Tensor:
    """scikit-learn's 8x8 digits in [0, 1]."""
    from sklearn.datasets import load_digits

    return torch.tensor(load_digits().data, dtype=torch.float32) / 16


def archetypal(delta: float) -> ArchetypalConfig:
    """More points than atoms."""
    return ArchetypalConfig(n_latents=M, k=K, n_points=POINTS, delta=delta)


def trained(config: ArchitectureBase, x: Tensor, seed: int, *, at_points: bool = False) -> Dictionary:
    """Points, starting weights and order of the rows all follow the seed; `at_points` starts as an archetypal one does."""
    generator = torch.Generator().manual_seed(seed)
    dictionary = make_dictionary(config, x.shape[1], generator, x)
    if at_points:
        points = make_dictionary(archetypal(0.0), x.shape[1], torch.Generator().manual_seed(seed), x)
        dictionary.place_atoms(points.atoms().detach())
    optimizer = torch.optim.Adam(dictionary.parameters(), lr=2e-3)
    for _ in range(STEPS):
        rows = x[torch.randint(len(x), (BATCH,), generator=generator)]
        loss = (dictionary(rows).reconstruction - rows).square().mean()
        optimizer.zero_grad()
        loss.backward()
        dictionary.before_step()
        optimizer.step()
        dictionary.after_step()
    return dictionary.requires_grad_(False).eval()


def distances(dictionary: ArchetypalDictionary) -> list[float]:
    """Distance of atoms, without their common scale, from the convex hull of the points, by non-negative least squares."""
    from scipy.optimize import nnls

    atoms = (dictionary.decoder / dictionary.log_scale.exp()).double().numpy()
    points, found = dictionary.points.double().numpy().T, []
    # one more coordinate, weighed heavily, makes the shares sum to 1
    rows = np.vstack([points, 1e3 * np.ones(points.shape[1])])
    for atom in atoms[:ATOMS]:
        shares, _ = nnls(rows, np.append(atom, 1e3), maxiter=10_000)
        found.append(float(np.linalg.norm(points @ (shares / shares.sum()) - atom)))
    return found


def scores(pair: list[Dictionary], x: Tensor) -> dict[str, Any]:
    """Agreement of two seeds, their mean R2 and, of archetypal ones, what their constraints left."""
    r2 = []
    for dictionary in pair:
        sums = Reconstruction(x.shape[1])
        sums.update(x, dictionary(x).reconstruction)
        r2.append(1 - sums.fvu)
    found: dict[str, Any] = {"stability": match(pair[0].atoms(), pair[1].atoms()).mcs, "r2": sum(r2) / len(r2)}
    if isinstance(pair[0], ArchetypalDictionary):
        mixtures = torch.stack([dictionary.get_parameter("mixture").double() for dictionary in pair])
        found["least_share"] = float(mixtures.min())
        found["sum_off"] = float((mixtures.sum(dim=-1) - 1).abs().max())
        found["distances"] = distances(pair[0])
    return found


if __name__ == "__main__":
    x = digits_rows()
    configs: dict[str, ArchitectureBase] = {f"{delta:g}": archetypal(delta) for delta in DELTAS}
    configs["free"] = configs["free at points"] = TopKConfig(n_latents=M, k=K, bias_init="zeros")
    found = {
        name: scores([trained(config, x, seed, at_points=name == "free at points") for seed in (0, 1)], x)
        for name, config in configs.items()
    }
    Path(sys.argv[1]).write_text(json.dumps(found, indent=1))
