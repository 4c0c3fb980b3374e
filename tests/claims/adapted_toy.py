"""Bias adaptation in setup S at several target frequencies: python adapted_toy.py SCORES.json STEPS [NAME ...]."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import torch
from torch.nn.functional import mse_loss

from pellucid.data import PlantedData
from pellucid.dictionaries import GbaConfig, GbaDictionary, inference, make_dictionary
from pellucid.evaluation.recovery import match
from pellucid.training.schedule import learning_rate

M, D, BATCH, PEAK = 128, 32, 512, 2e-3
FREQUENCY = 3 / 64


def single(target: float, every: int = 50) -> GbaConfig:
    """One group of latents."""
    return GbaConfig(n_latents=M, n_groups=1, highest=target, lowest=target, every=every)


CONFIGS = {
    "f": single(FREQUENCY),
    "f/4": single(FREQUENCY / 4),
    "4f": single(4 * FREQUENCY),
    "0.5": single(0.5),
    "groups": GbaConfig(n_latents=M, n_groups=8, highest=0.2, lowest=0.002),
    # biases that move as far in a quarter of the steps
    "f often": single(FREQUENCY, every=12),
    "0.5 often": single(0.5, every=12),
}


def trained(names: list[str], steps: int) -> dict[str, dict[str, Any]]:
    """Train on the same stream, as setup S says, and return the scores on held-out rows."""
    data = PlantedData()
    sample = data.train_batch(steps, 4 * BATCH).inputs
    made = {name: make_dictionary(CONFIGS[name], D, torch.Generator().manual_seed(0), sample) for name in names}
    optimizers = {name: torch.optim.Adam(made[name].parameters(), lr=PEAK, fused=True) for name in names}
    for step in range(steps):
        x = data.train_batch(step, BATCH).inputs
        for name, dictionary in made.items():
            loss = mse_loss(dictionary(x).reconstruction, x)
            optimizers[name].zero_grad(set_to_none=True)
            loss.backward()
            dictionary.before_step()
            optimizers[name].param_groups[0]["lr"] = learning_rate(step, peak=PEAK, warmup=0, total=steps, final=0.0)
            optimizers[name].step()
            dictionary.after_step()
    return {name: _scores(dictionary, data) for name, dictionary in made.items()}


@torch.no_grad()
def _scores(dictionary: Any, data: PlantedData) -> dict[str, Any]:
    assert isinstance(dictionary, GbaDictionary)
    x = data.held_out_rows(torch.arange(data.n_held_out)).inputs
    with inference([dictionary]):
        share = (dictionary(x).codes > 0).double().mean(dim=0)
    matching = match(dictionary.atoms(), data.atoms)
    best = (torch.nn.functional.normalize(data.atoms, dim=1) @ dictionary.atoms().T).amax(dim=1)
    return {
        "frr": matching.frr,
        "mcs": matching.mcs,
        "mean_best_cosine": float(best.mean()),
        "alive": float((share > 0).double().mean()),
        "over_target": (share / dictionary.targets.double()).tolist(),
    }


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(json.dumps(trained(sys.argv[3:] or list(CONFIGS), int(sys.argv[2])), indent=1))
