"""Ablating a group of latents, beside random groups that fire as often."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Num
from torch import Tensor

from pellucid.core.errors import ConfigError, raise_all
from pellucid.data.source import seeded
from pellucid.features.steering.edit import Edit, Operation
from pellucid.features.steering.passes import EditedPass, kl_divergence

NEIGHBOURS = 20
"""Latents of nearest frequency among which each partner is drawn."""

Measure = Callable[[Float[Tensor, "r v"], Float[Tensor, "r v"]], Float[Tensor, " r"]]
"""Takes log-probabilities before and after and returns the effect at each read position."""


@dataclass(frozen=True)
class GroupAblation:
    """Effect of ablating a group, and of ablating groups of random latents of the same frequencies."""

    latents: list[int]
    effect: float
    """Mean over the read positions."""
    controls: list[float]
    """The same for each random group."""
    control_latents: list[list[int]]
    p_value: float
    """(1 + random groups with at least this effect) / (1 + random groups): a permutation test, one-sided."""


def ablate_group(
    texts: EditedPass,
    dictionary: str,
    latents: Sequence[int],
    firings: Num[Tensor, " m"],
    *,
    measure: Measure = kl_divergence,
    operation: Operation = "ablate_zero",
    n_controls: int = 20,
    positions: str = "all",
    seed: int = 0,
) -> GroupAblation:
    """Ablate a group of latents together, then `n_controls` random groups matched one by one in firing frequency.

    `firings` says how often each latent fires (counts or rates). A matched latent is drawn from the NEIGHBOURS alive ones
    of nearest frequency outside the group and not yet drawn. Raises ConfigError listing settings that do not fit.
    """
    m = len(firings)
    problems = [] if latents else ["the group is empty; name one latent or more"]
    problems += [f"latent {i} is outside 0 to {m - 1}" for i in latents if not 0 <= i < m]
    problems += ["the group names a latent twice"] if len(set(latents)) < len(latents) else []
    problems += [f"n_controls is {n_controls}, wanted 1 or more"] if n_controls < 1 else []
    problems += [] if operation == "ablate_zero" else [f"operation '{operation}' is not supported here; wanted ablate_zero"]
    raise_all(problems, ConfigError)

    def effect(group: Sequence[int]) -> float:
        edits = [Edit(dictionary=dictionary, latent=i, operation=operation, positions=positions) for i in group]
        return float(measure(texts.before, texts.after(edits)).double().mean())

    groups = [matched(firings, latents, f"{seed}/{i}") for i in range(n_controls)]
    own, controls = effect(latents), [effect(group) for group in groups]
    p_value = (1 + sum(control >= own for control in controls)) / (1 + n_controls)
    return GroupAblation(list(latents), own, controls, groups, p_value)


def matched(firings: Num[Tensor, " m"], latents: Sequence[int], seed: str) -> list[int]:
    """Return for each latent another one that fires about as often, none twice and none of the group.

    Raises ConfigError if the dictionary has too few other alive latents.
    """
    generator = seeded("matched", seed)
    left = {i for i in (firings > 0).nonzero().squeeze(-1).tolist() if i not in set(latents)}
    if len(left) < len(latents):
        raise ConfigError(f"{len(latents)} latents need as many others that fire, found {len(left)}; ablate fewer")
    found = []
    for latent in latents:
        near = sorted(left, key=lambda i: (abs(float(firings[i]) - float(firings[latent])), i))[:NEIGHBOURS]
        pick = near[int(torch.randint(len(near), (), generator=generator))]
        left.remove(pick)
        found.append(pick)
    return found
