"""How far a host follows a direction, and how many features it has for a topic (arXiv 2508.21448)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from pellucid.core.errors import ConfigError, raise_all
from pellucid.dictionaries import inference
from pellucid.features.steering.curve import Shape, shape, with_zero
from pellucid.features.steering.dose import STRENGTHS
from pellucid.features.steering.edit import Edit
from pellucid.features.steering.intervals import Estimate, bootstrap, mean_of
from pellucid.features.steering.logits import steered_logits
from pellucid.features.steering.steerable import Steerable

REFUSED = 0.5
"""Share of the prompts answered at strength 0 whose refusal counts as a break."""
BATCH = 16
"""Prompts run at once."""
ROUNDING = 1e-6
"""Prompts by which a count may miss the share asked for, so that 0.1 of 30 is 3."""
Prompts = Sequence[Int[Tensor, "1 n"]]


@dataclass(frozen=True)
class Answers:
    """The host's answer to each of n prompts, at its last position."""

    stance: Float[Tensor, " n"]
    """log P(toward) - log P(away), in nats."""
    refused: Bool[Tensor, " n"]
    """True where the likeliest next token is of neither side."""


@dataclass(frozen=True)
class Stance:
    """How a host answers a set of prompts under one edit, with intervals over prompts."""

    strength: float
    stance: Estimate
    """Mean log-odds of `toward` against `away`, log P(toward) - log P(away), in nats."""
    shift: Estimate
    """Mean change of the stance from the unedited host."""
    following: Estimate
    """Share of prompts whose stance is towards the side the strength asks for (above 0 for a positive strength)."""
    refusal: Estimate
    """Share of prompts whose likeliest next token is an answer of neither side: refused, evaded or degenerate."""


@dataclass(frozen=True)
class Steerability:
    """Stances over strengths."""

    prompts: int
    stances: list[Stance]
    """In order of strength."""
    shape: Shape
    """Where the mean stance rises at every step; broken means that most prompts are refused which were not at strength 0."""

    def to_json(self) -> dict[str, Any]:
        """Return the figures as JSON values."""
        return asdict(self)


@dataclass(frozen=True)
class Richness:
    """Number of latents a host has for a topic, as far as a dictionary shows."""

    features: Estimate
    """Latents whose code passes `threshold` on at least `share` of the prompts."""
    latents: list[int]
    threshold: float
    share: float
    prompts: int


def answers(
    steerable: Steerable, prompts: Prompts, toward: Sequence[int], away: Sequence[int], edits: Sequence[Edit] = ()
) -> Answers:
    """Return how the host answers each prompt, by the tokens of two sides; raises as `steered_logits` does.

    Raises ConfigError if there is no prompt, or the sides are empty or share a token.
    """
    problems = [] if prompts else ["there is no prompt; give one or more"]
    problems += [f"side '{side}' has no token" for side, ids in (("toward", toward), ("away", away)) if not ids]
    problems += [f"token {token} is on both sides" for token in sorted(set(toward) & set(away))]
    raise_all(problems, ConfigError)
    log_p = (
        torch.cat([steered_logits(steerable, rows, edits, last=1)[:, -1] for rows in _stacked(prompts)]).float().log_softmax(-1)
    )
    log_p = log_p[_places(prompts)]
    stance = log_p[:, list(toward)].logsumexp(-1) - log_p[:, list(away)].logsumexp(-1)
    sides = torch.tensor([*toward, *away], device=log_p.device)
    return Answers(stance, ~torch.isin(log_p.argmax(-1), sides))


def steerability(
    steerable: Steerable,
    prompts: Prompts,
    toward: Sequence[int],
    away: Sequence[int],
    edit: Edit,
    *,
    strengths: Sequence[float] = STRENGTHS,
    seed: int = 0,
) -> Steerability:
    """Return stance, following and refusal over prompts for `edit` with each strength in the place of its value.

    Every figure has a 95 % bootstrap interval over prompts. Raises as `answers` does.
    """
    grid = with_zero(strengths)
    found = [answers(steerable, prompts, toward, away, [edit.model_copy(update={"value": s})]) for s in grid]
    original = found[grid.index(0.0)]
    stances = [stance_of(answer, original, strength, seed=seed) for answer, strength in zip(found, grid, strict=True)]
    answered = ~original.refused
    broken = [bool(answered.any()) and float(a.refused[answered].double().mean()) > REFUSED for a in found]
    curve = shape(grid, [stance.stance.value for stance in stances], broken)
    return Steerability(len(prompts), stances, curve)


def stance_of(answer: Answers, original: Answers, strength: float, *, seed: int = 0) -> Stance:
    """Return the figures of some answers beside those of the unedited host.

    Steering by a prompt is measured in the same way: `answer` is then to the prompts with an instruction before them, and
    `strength` is 1 or -1 for the side it asks for.
    """
    side = -1.0 if strength < 0 else 1.0
    return Stance(
        strength,
        mean_of(answer.stance, seed=seed),
        mean_of(answer.stance - original.stance, seed=seed),
        mean_of((answer.stance * side > 0).double(), seed=seed),
        mean_of(answer.refused.double(), seed=seed),
    )


@torch.no_grad()
def richness(
    steerable: Steerable, dictionary: str, prompts: Prompts, *, threshold: float, share: float = 0.1, seed: int = 0
) -> Richness:
    """Count the latents of a topic: those whose code passes `threshold` on at least `share` of the prompts.

    The interval is over prompts. A share is asked for because the number of latents seen on one prompt or more only falls
    when prompts are drawn again, so a bootstrap says nothing of it. Raises ConfigError listing settings that do not fit.
    """
    problems = [] if prompts else ["there is no prompt; give one or more"]
    problems += [f"threshold is {threshold}, wanted 0 or more"] if not threshold >= 0 else []
    problems += [f"share is {share}, wanted above 0 and at most 1"] if not 0 < share <= 1 else []
    raise_all(problems, ConfigError)
    coder, site = steerable.dictionary(dictionary)
    fired = []
    for tokens in _stacked(prompts):
        value = steerable.host.run({"input_ids": tokens}, capture=[site], stop=True).values[site][:, steerable.exclude_first :]
        with inference([coder]):
            codes = coder.encode(value.reshape(-1, value.shape[-1]).float())
        fired.append((codes.reshape(*value.shape[:2], -1) > threshold).any(dim=1))
    active = torch.cat(fired)[_places(prompts)].float().cpu()

    def count(draws: Int[Tensor, "draws n"]) -> Float[Tensor, " draws"]:
        weights = torch.zeros(len(draws), len(active)).scatter_add_(1, draws, torch.ones(draws.shape))
        return (weights @ active >= share * len(active) - ROUNDING).sum(dim=1).double()

    latents = (active.sum(dim=0) >= share * len(active) - ROUNDING).nonzero().squeeze(-1).tolist()
    return Richness(bootstrap(len(prompts), count, seed=seed), latents, threshold, share, len(prompts))


def _order(prompts: Prompts) -> list[int]:
    return sorted(range(len(prompts)), key=lambda i: prompts[i].shape[1])


def _stacked(prompts: Prompts) -> list[Int[Tensor, "rows n"]]:
    """Prompts of one length in one batch, at most BATCH of them, shortest first."""
    batches: list[list[Tensor]] = []
    for prompt in (prompts[i] for i in _order(prompts)):
        if not batches or len(batches[-1]) == BATCH or batches[-1][0].shape != prompt.shape:
            batches.append([])
        batches[-1].append(prompt)
    return [torch.cat(batch) for batch in batches]


def _places(prompts: Prompts) -> Int[Tensor, " p"]:
    """Where each prompt's row is after `_stacked`."""
    return torch.tensor(_order(prompts)).argsort()
