"""QLAE on small images of known sources, with and without what should matter: python sprites_toy.py SCORES.json [STEPS]."""

from __future__ import annotations

import itertools
import json
import sys
from pathlib import Path

import torch
from torch import Tensor

from pellucid.dictionaries import LatentQuantizationConfig, inference, make_dictionary
from pellucid.evaluation.infomec import infomec
from pellucid.training.learner import make_optimizer
from pellucid.training.objectives import Evidence, Local

SIDE, BATCH, STEPS, LR = 12, 128, 1500, 1e-3
VALUES = (6, 6, 4, 4)
"""Of each source: column, row, size and brightness of a soft square."""
CONFIGS = {
    "qlae": {},
    "no decay": {"weight_decay": 0.0},
    "shared": {"shared": True},
}


def sprites() -> tuple[Tensor, Tensor]:
    """Return every image [n, pixels] and its sources [n, 4]."""
    sources = torch.tensor(list(itertools.product(*map(range, VALUES))))
    column, row, size, light = sources.T
    grid = torch.arange(SIDE) + 0.5
    centres = 2.5 + 1.4 * torch.stack([column, row])
    half = 1.0 + 0.5 * size
    inside = [torch.sigmoid(3 * (half[:, None] - (grid - centre[:, None]).abs())) for centre in centres]
    images = inside[0][:, None, :] * inside[1][:, :, None] * (0.4 + 0.2 * light)[:, None, None]
    return images.flatten(1), sources


def trained(values: dict, steps: int, seed: int = 0) -> dict:
    """Train one and return its scores."""
    images, sources = sprites()
    config = LatentQuantizationConfig(n_latents=80, hidden=(128, 128), **values)
    dictionary = make_dictionary(config, images.shape[1], torch.Generator().manual_seed(seed))
    optimizer, draw = make_optimizer(dictionary, LR, (0.9, 0.999)), torch.Generator().manual_seed(seed + 1)
    nobody = torch.zeros(80, dtype=torch.bool)
    for _ in range(steps):
        x = images[torch.randint(0, len(images), (BATCH,), generator=draw)]
        forward = dictionary(x)
        loss = Local().terms(Evidence(x, forward.reconstruction))["mse"] + sum(dictionary.penalty(forward, x, nobody).values())
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(dictionary.parameters(), 1.0)
        optimizer.step()
    with inference([dictionary]), torch.no_grad():
        codes, error = dictionary.quantized(images), (dictionary(images).reconstruction - images).square().sum()
    found = infomec(sources, codes)
    return {
        "modularity": found.modularity, "compactness": found.compactness, "explicitness": found.explicitness,
        "active": int(found.active.sum()), "distinct": max(len(column.unique()) for column in codes.T),
        "fvu": float(error / (images - images.mean(dim=0)).square().sum()),
    }  # fmt: skip


if __name__ == "__main__":
    steps = int(sys.argv[2]) if len(sys.argv) > 2 else STEPS
    seeds = [int(word) for word in sys.argv[3:]] or [0]
    scores = {f"{name} {seed}": trained(values, steps, seed) for seed in seeds for name, values in CONFIGS.items()}
    Path(sys.argv[1]).write_text(json.dumps(scores, indent=2))
