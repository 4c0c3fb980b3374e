"""Dictionaries of a planted tree, trained one after the other: python tree_toy.py SCORES.json STEPS [NAME ...]."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch.nn.functional import mse_loss, normalize
from torch.nn.utils import clip_grad_norm_

from pellucid.data import PlantedTreeConfig, PlantedTreeData
from pellucid.dictionaries import (
    ArchitectureBase,
    Dictionary,
    FiringCounter,
    MatchingPursuitConfig,
    MatchingPursuitDictionary,
    MatryoshkaConfig,
    ReluConfig,
    inference,
    make_dictionary,
)
from pellucid.evaluation.recovery import match
from pellucid.training.schedule import learning_rate

M, BATCH, POOL, CLIP = 20, 200, 100_000, 1.0
FIRST_PREFIX = 3
DEAD_AFTER = 20 * BATCH
DEPTHS = (1, 2, 3, 5)


@dataclass(frozen=True)
class Recipe:
    """How one dictionary is trained."""

    config: ArchitectureBase
    lr: float = 3e-3
    betas: tuple[float, float] = (0.9, 0.999)
    share: float = 1.0
    """Of the steps."""
    sibling_cosine: float = 0.0
    seed: int = 0


def pursuit(steps: int, **values: Any) -> Recipe:
    """The tree's own schedule: Adam with short memories."""
    # rows have no offset, and one subtracted before the pursuit could not be added by it: coefficients are positive
    config = MatchingPursuitConfig(n_latents=M, pursuit_steps=steps, bias_init="zeros")
    return Recipe(config, **{"lr": 3e-2, "betas": (0.5, 0.9375)} | values)


RECIPES = {
    "relu": Recipe(ReluConfig(n_latents=M, l1=1.0, tied_init=True)),
    # with k = 2 a latent of the first prefix stays at a lone feature and a parent is left to the next group in each of three
    # seeds, with k = 4 in one
    "matryoshka": Recipe(MatryoshkaConfig(n_latents=M, k=4, groups=(FIRST_PREFIX / M, 0.4), bias_init="zeros")),
    "pursuit 6": pursuit(6),
    "pursuit 4 partly": pursuit(4, lr=1e-2, share=0.4),
}
WHOLE = {f"matryoshka {s}": replace(RECIPES["matryoshka"], seed=s) for s in (1, 2)}
WHOLE |= {f"pursuit 6 cosine {c} seed {s}": pursuit(6, sibling_cosine=c, seed=s) for c in (0.0, 0.3, 0.6) for s in (0, 1, 2)}
WHOLE |= {f"pursuit 4 seed {s}": pursuit(4, seed=s) for s in (0, 1, 2)}


def trained(recipe: Recipe, steps: int) -> tuple[Dictionary, PlantedTreeData]:
    """Train on a pool of rows; the bias of a pursuit stays zero."""
    data = PlantedTreeData(PlantedTreeConfig(sibling_cosine=recipe.sibling_cosine))
    pool, order = data.train_rows(torch.arange(POOL)).inputs, torch.Generator().manual_seed(100 + recipe.seed)
    dictionary = make_dictionary(recipe.config, M, torch.Generator().manual_seed(recipe.seed), pool[:2000])
    if isinstance(dictionary, MatchingPursuitDictionary):
        dictionary.decoder_bias.requires_grad_(False)
    parameters = [parameter for parameter in dictionary.parameters() if parameter.requires_grad]
    optimizer = torch.optim.Adam(parameters, lr=recipe.lr, betas=recipe.betas, fused=True)
    counter, total = FiringCounter(M), int(steps * recipe.share)
    for step in range(total):
        x = pool[torch.randint(POOL, (BATCH,), generator=order)]
        forward = dictionary(x)
        loss = mse_loss(forward.reconstruction, x) + sum(dictionary.penalty(forward, x, counter.dead(DEAD_AFTER)).values())
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        dictionary.before_step()
        clip_grad_norm_(parameters, CLIP)
        optimizer.param_groups[0]["lr"] = learning_rate(step, peak=recipe.lr, warmup=0, total=total, final=0.0)
        optimizer.step()
        dictionary.after_step()
        counter.update(forward.codes.detach())
    return dictionary, data


@torch.no_grad()
def scores(dictionary: Dictionary, data: PlantedTreeData) -> dict[str, Any]:
    """Return recovery, the cosine of each child's latent with the true parent, and what pursuits leave of held-out rows."""
    x = data.held_out_rows(torch.arange(5000)).inputs
    with inference([dictionary]):
        forward = dictionary(x)
    matching = match(dictionary.atoms(), data.atoms)
    children = (data.parents >= 0).nonzero().flatten()
    atoms = normalize(dictionary.atoms(), dim=1)[matching.latents[children]]
    found: dict[str, Any] = {
        "mcs": matching.mcs,
        "frr": matching.frr,
        "with_parent": (atoms * data.atoms[data.parents[children]]).sum(dim=1).tolist(),
        "parent_latents": matching.latents[data.parents[children].unique()].tolist(),
        "parent_cosines": matching.cosines[data.parents[children].unique()].tolist(),
        "error": float((forward.reconstruction - x).square().sum() / x.square().sum()),
    }
    if isinstance(dictionary, MatchingPursuitDictionary):
        left = [dictionary.pursue(x, depth)[1].square().sum() / x.square().sum() for depth in DEPTHS]
        found["left"] = [float(share) for share in left]
    return found


if __name__ == "__main__":
    steps, names = int(sys.argv[2]), sys.argv[3:] or list(RECIPES)
    everything = RECIPES | WHOLE
    Path(sys.argv[1]).write_text(json.dumps({name: scores(*trained(everything[name], steps)) for name in names}, indent=1))
