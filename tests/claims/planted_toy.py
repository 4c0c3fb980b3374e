"""Dictionaries of setup S of the dictionaries' sheet, trained side by side: python planted_toy.py SCORES.json [NAME ...]."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import torch
from torch import Tensor

from pellucid.data import PlantedConfig, PlantedData
from pellucid.dictionaries import (
    ArchitectureBase,
    BatchTopKConfig,
    Dictionary,
    FiringCounter,
    GatedConfig,
    JumpReluConfig,
    MatryoshkaConfig,
    MatryoshkaDictionary,
    PAnnealConfig,
    ReluConfig,
    TopKConfig,
    inference,
    make_dictionary,
)
from pellucid.evaluation.reconstruction import Reconstruction
from pellucid.evaluation.recovery import code_ratio, match
from pellucid.training.objectives import Evidence, Local
from pellucid.training.schedule import learning_rate

M, D, BATCH, STEPS, PEAK, SPARSITY_WARMUP = 64, 32, 512, 6_000, 2e-3, 0.1
DEAD_AFTER = 20 * BATCH


def jump(l0: float) -> JumpReluConfig:
    """The sheet's lambda and window are in the data's units, so the input scale is set to 1."""
    return JumpReluConfig(n_latents=M, l0_coefficient=l0, input_scale=1.0, bandwidth=0.05, threshold_init=0.1)


# The sheet's loss sums squared errors over the D coordinates; pellucid's takes their mean, and divides penalties by D too.
CONFIGS: dict[str, ArchitectureBase] = {
    "relu 0.3": ReluConfig(n_latents=M, l1=0.3, tied_init=True),
    "relu 0.1": ReluConfig(n_latents=M, l1=0.1, tied_init=True),
    "april 0.3": ReluConfig(n_latents=M, l1=0.3, tied_init=True, atom_norm="free"),
    "gated 0.3": GatedConfig(n_latents=M, l1=0.3),
    "topk 3": TopKConfig(n_latents=M, k=3),
    "topk 3 alone": TopKConfig(n_latents=M, k=3, aux_coefficient=0.0),
    "topk 1": TopKConfig(n_latents=M, k=1, aux_coefficient=0.0),
    "batch_topk 3": BatchTopKConfig(n_latents=M, k=3, aux_coefficient=0.0),
    "jumprelu 0.05": jump(0.05),
    "jumprelu 0.2": jump(0.2),
    "matryoshka 3": MatryoshkaConfig(n_latents=M, k=3, aux_coefficient=0.0),
    "relu 0.2": ReluConfig(n_latents=M, l1=0.2, tied_init=True),
    "p_anneal 0.2": PAnnealConfig(n_latents=M, l1=0.2, p_end=0.2),
}


class Pupil:
    """A dictionary with its optimizer and counter."""

    def __init__(self, config: ArchitectureBase, sample: Tensor) -> None:
        self.dictionary: Dictionary = make_dictionary(config, D, torch.Generator().manual_seed(0), sample)
        self.optimizer = torch.optim.Adam(self.dictionary.parameters(), lr=PEAK, fused=True)
        self.counter = FiringCounter(M)
        self.watched = getattr(config, "aux_coefficient", 0) > 0  # nothing else asks which latents are dead

    def step(self, x: Tensor, lr: float, progress: float) -> None:
        """Take one step of Adam; penalties on sparsity rise to their full weight over the first tenth of the training."""
        sparsity = min(1.0, progress / SPARSITY_WARMUP)
        dictionary = self.dictionary
        dictionary.begin_step(progress)
        forward = dictionary(x)
        penalties = dictionary.penalty(forward, x, self.counter.dead(DEAD_AFTER))
        loss = Local().terms(Evidence(x, forward.reconstruction))["mse"]
        for name, value in penalties.items():
            loss = loss + (sparsity * value if name == "sparsity" else value)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        dictionary.before_step()
        self.optimizer.param_groups[0]["lr"] = lr
        self.optimizer.step()
        dictionary.after_step()
        if self.watched:
            self.counter.update(forward.codes.detach())

    @torch.no_grad()
    def scores(self, data: PlantedData) -> dict[str, float]:
        """Return what the sheet states, on the held-out rows, in inference mode."""
        held_out = data.truth(torch.arange(data.n_held_out), held_out=True)
        sums, counter = Reconstruction(D), FiringCounter(M)
        with inference([self.dictionary]):
            forward = self.dictionary(held_out.x)
        sums.update(held_out.x, forward.reconstruction)
        counter.update(forward.codes)
        prefixes = {}
        if isinstance(self.dictionary, MatryoshkaDictionary):
            parts = self.dictionary.prefix_reconstructions(forward, self.dictionary.prefix_ends())
            for number, part in enumerate(parts):
                left = Reconstruction(D)
                left.update(held_out.x, part)
                prefixes[f"prefix {number}"] = left.fvu
        matching = match(self.dictionary.atoms(), data.atoms)
        free = isinstance(config := self.dictionary.config, ReluConfig) and config.atom_norm == "free"
        return {
            **prefixes,
            "mcs": matching.mcs,
            "frr": matching.frr,
            "fvu": sums.fvu,
            "gamma": sums.gamma,
            "l0": counter.l0(),
            "dead": 1 - counter.alive() / M,
            "ratio": code_ratio(
                forward.codes, held_out.coefficients, matching, self.dictionary.decoder.norm(dim=1) if free else torch.ones(M)
            ),
        }


def trained(configs: dict[str, ArchitectureBase], steps: int = STEPS, seed: int = 0) -> dict[str, dict[str, float]]:
    """Train every config on the same stream and return their scores."""
    data = PlantedData(PlantedConfig(seed=seed))
    sample = data.train_batch(steps, 4 * BATCH).inputs
    pupils = {name: Pupil(config, sample) for name, config in configs.items()}
    for number in range(steps):
        x = data.train_batch(number, BATCH).inputs
        lr = learning_rate(number, peak=PEAK, warmup=0, total=steps, final=0.0)
        for pupil in pupils.values():
            pupil.step(x, lr, number / steps)
    return {name: pupil.scores(data) for name, pupil in pupils.items()}


if __name__ == "__main__":
    chosen = sys.argv[2:] or list(CONFIGS)
    Path(sys.argv[1]).write_text(json.dumps(trained({name: CONFIGS[name] for name in chosen}), indent=2))
