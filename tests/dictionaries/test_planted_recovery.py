"""A small form of the planted data in the facts: 64 random atoms in 32 dimensions, about 3 active per token."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from pellucid.dictionaries import ArchitectureBase, FiringCounter, ReluConfig, TopKConfig, make_dictionary

D, M, BATCH = 32, 64, 512


@dataclass
class Result:
    mean_cosine: float
    recovered: float
    dead: float
    l0: float


def planted_atoms() -> Tensor:
    return torch.nn.functional.normalize(torch.randn(M, D, generator=torch.Generator().manual_seed(11)), dim=1)


def draw(atoms: Tensor, n: int, generator: torch.Generator) -> Tensor:
    active = torch.rand(n, M, generator=generator) < 3 / M
    return (active * (0.5 + torch.rand(n, M, generator=generator))) @ atoms


def matched_cosines(found: Tensor, planted: Tensor) -> Tensor:
    cosines = (found @ planted.T).detach()
    return cosines[linear_sum_assignment(cosines.numpy(), maximize=True)]


def fit(config: ArchitectureBase, steps: int = 1_000, silenced: int = 0) -> Result:
    """Train on planted data; the first `silenced` latents start with a bias that keeps them out of the top k."""
    generator = torch.Generator().manual_seed(0)
    atoms = planted_atoms()
    dictionary = make_dictionary(config, D, generator, draw(atoms, 2_000, generator))
    with torch.no_grad():
        dictionary.encoder_bias[:silenced] = -0.8
    optimizer = torch.optim.Adam(dictionary.parameters(), lr=4e-3)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    counter = FiringCounter(M)
    for _ in range(steps):
        x = draw(atoms, BATCH, generator)
        forward = dictionary(x)
        counter.update(forward.codes.detach())
        terms = dictionary.penalty(forward, x, counter.dead(20 * BATCH))
        loss = (forward.reconstruction - x).square().sum(dim=1).mean() + sum(terms.values())
        optimizer.zero_grad()
        loss.backward()
        dictionary.before_step()
        optimizer.step()
        schedule.step()
        dictionary.after_step()
    counter = FiringCounter(M)
    counter.update(dictionary.encode(draw(atoms, 20_000, generator)))
    cosines = matched_cosines(dictionary.atoms(), atoms)
    return Result(float(cosines.mean()), float((cosines > 0.9).float().mean()), 1 - counter.alive() / M, counter.l0())


def test_topk_recovers_most_atoms():
    random_atoms = torch.nn.functional.normalize(torch.randn(M, D, generator=torch.Generator().manual_seed(1)), dim=1)
    chance = float(matched_cosines(random_atoms, planted_atoms()).mean())
    assert chance < 0.5
    found = fit(TopKConfig(n_latents=M, k=3))
    assert found.mean_cosine > 0.85
    assert found.recovered > 0.7
    assert 2 < found.l0 <= 3


def test_auxiliary_term_revives_silenced_latents():
    with_term = fit(TopKConfig(n_latents=M, k=3), steps=600, silenced=16)
    without = fit(TopKConfig(n_latents=M, k=3, aux_coefficient=0.0), steps=600, silenced=16)
    assert without.dead > 0.1
    assert with_term.dead < 0.05
    assert with_term.mean_cosine > without.mean_cosine


def test_relu_recovers_most_atoms():
    # The facts' lambda 0.3 weighs the sum of codes against the summed squared error, so l1 / d = 0.3.
    found = fit(ReluConfig(n_latents=M, l1=0.3 * D, tied_init=True))
    assert found.mean_cosine > 0.9
    assert found.recovered > 0.8
