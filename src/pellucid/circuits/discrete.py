"""Heads that do a task, found from a few examples and the integer codes of one dictionary that all heads share."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn.functional import mse_loss

from pellucid.core.errors import ConfigError, DataError, NumericsError
from pellucid.dictionaries import DiscreteConfig, DiscreteDictionary, make_dictionary


@dataclass(frozen=True)
class NodeScores:
    """How many codes each head has for positive examples alone."""

    count: Int[Tensor, " heads"]
    """Codes seen in positive examples and in no negative one."""
    share: Float[Tensor, " heads"]
    """The same divided by the number of codes seen at all: a head with diverse codes does not score high for that alone."""


def node_scores(positive: Int[Tensor, "n heads"], negative: Int[Tensor, "m heads"]) -> NodeScores:
    """Score heads by the codes of examples of both classes (O'Neill & Bui 2024, arXiv 2405.12522).

        count_h = |P_h minus N_h|,  share_h = count_h / |P_h or N_h|

    with P_h and N_h the sets of codes that head h has on positive and on negative examples. Only which codes are equal
    counts: renumbering latents changes nothing. Raises DataError if a class has no example.
    """
    if not len(positive) or not len(negative):
        raise DataError(
            f"the codes are {list(positive.shape)} for positive and {list(negative.shape)} for negative examples; wanted "
            f"[examples, heads] with at least one example each"
        )
    seen = [[set(column) for column in codes.T.tolist()] for codes in (positive, negative)]
    counts = [len(p - n) for p, n in zip(*seen, strict=True)]
    unions = [len(p | n) for p, n in zip(*seen, strict=True)]
    count = torch.tensor(counts)
    return NodeScores(count, count.double() / torch.tensor(unions))


def fit_discrete(
    examples: Float[Tensor, "n heads width"],
    config: DiscreteConfig | None = None,
    *,
    steps: int = 500,
    lr: float = 1e-3,
    generator: torch.Generator | None = None,
) -> DiscreteDictionary:
    """Train one discrete dictionary on the outputs of all heads on a few examples, positive ones first.

    Full-batch Adam on MSE and the dictionary's own terms; the paper's settings are the defaults, some ten examples are
    meant. The result is in inference mode. Raises DataError without examples, NumericsError if one is not finite,
    ConfigError if steps is below 1 or lr not above 0.
    """
    if steps < 1 or lr <= 0:
        raise ConfigError(f"steps is {steps} and lr {lr}; wanted at least 1 step and a rate above 0")
    if examples.numel() == 0:
        raise DataError(f"the examples are {list(examples.shape)}; wanted [examples, heads, width] with at least one of each")
    if not bool(examples.isfinite().all()):
        raise NumericsError("an output of a head is not finite. Check the host's weights and its dtype")
    rows = examples.detach().float().flatten(0, 1)
    dictionary = make_dictionary(config or DiscreteConfig(), rows.shape[1], generator).to(rows.device)
    assert isinstance(dictionary, DiscreteDictionary)
    optimizer = torch.optim.Adam(dictionary.parameters(), lr=lr)
    none_dead = torch.zeros(dictionary.n_latents, dtype=torch.bool, device=rows.device)
    for _ in range(steps):
        forward = dictionary(rows)
        terms = [mse_loss(forward.reconstruction, rows), *dictionary.penalty(forward, rows, none_dead).values()]
        optimizer.zero_grad()
        torch.stack(terms).sum().backward()
        optimizer.step()
    return dictionary.requires_grad_(False).eval()


def score_heads(
    dictionary: DiscreteDictionary, positive: Float[Tensor, "n heads width"], negative: Float[Tensor, "m heads width"]
) -> NodeScores:
    """Return the `node_scores` of the integer codes that a dictionary gives to heads' outputs."""
    labels = [dictionary.labels(outputs.flatten(0, 1)).view(outputs.shape[:2]) for outputs in (positive, negative)]
    return node_scores(*labels)


def area_under_curve(scores: Float[Tensor, " n"] | Int[Tensor, " n"], members: Bool[Tensor, " n"]) -> float:
    """Return the area under the ROC curve: the probability that a member scores above one that is none, ties counting half.

    0.5 is chance. Raises DataError unless there are both members and others.
    """
    inside, outside = scores[members].double(), scores[~members].double()
    if not len(inside) or not len(outside):
        raise DataError(f"{len(inside)} of {len(scores)} scores are of members; an area needs members and others")
    above = (inside.unsqueeze(1) > outside).double().mean()
    equal = (inside.unsqueeze(1) == outside).double().mean()
    return float(above + equal / 2)
