"""Directions to steer along, and the baselines they are held against."""

from __future__ import annotations

import math

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn.functional import normalize

from pellucid.core.errors import ConfigError, DataError, NumericsError
from pellucid.data.source import seeded
from pellucid.features.steering.edit import Edit
from pellucid.features.steering.passes import EditedPass, kl_divergence
from pellucid.features.steering.steerable import Steerable
from pellucid.hosts import Site

STEPS = 60
"""Values tried before a search is given up."""
LARGEST = 1e9
"""Value beyond which a KL counts as out of reach."""


def difference_in_means(positive: Float[Tensor, "n d"], negative: Float[Tensor, "m d"]) -> Float[Tensor, " d"]:
    """Return mean(positive) - mean(negative), in float64 on the way; DataError if a side is empty or they are equal."""
    if not len(positive) or not len(negative):
        raise DataError(f"a difference in means needs rows on both sides, found {len(positive)} and {len(negative)}")
    difference = positive.double().mean(dim=0) - negative.double().mean(dim=0)
    if not bool(difference.any()):
        raise DataError("both sides have the same mean, so their difference points nowhere")
    return difference.to(positive.dtype)


def principal_component(positive: Float[Tensor, "n d"], negative: Float[Tensor, "m d"]) -> Float[Tensor, " d"]:
    """Return the first principal component of both sides together, a unit vector that points to the positive side."""
    rows = torch.cat([positive, negative]).double()
    component = torch.linalg.svd(rows - rows.mean(dim=0), full_matrices=False).Vh[0]
    sign = torch.sign(component @ difference_in_means(positive, negative).double())
    return (component * (sign if sign != 0 else 1)).to(positive.dtype)


def random_direction(d: int, seed: int = 0) -> Float[Tensor, " d"]:
    """Return a unit vector drawn uniformly from the sphere."""
    return normalize(torch.randn(d, generator=seeded("direction", seed), dtype=torch.float64), dim=0).float()


@torch.no_grad()
def last_values(steerable: Steerable, site: Site, texts: list[Int[Tensor, "1 _"]]) -> Float[Tensor, "texts d"]:
    """Return the site's value at the last position of each text."""
    runs = (steerable.host.run({"input_ids": tokens}, capture=[site], stop=True) for tokens in texts)
    return torch.cat([run.values[site][:, -1] for run in runs])


def match_kl(texts: EditedPass, edit: Edit, target: float, *, tolerance: float = 0.01, sign: float = 1.0) -> tuple[Edit, float]:
    """Return `edit` with the value at which its mean KL is `target` nats within a share `tolerance`, and that KL.

    A search between brackets: the next value is value * sqrt(target / KL), as the KL of a small addition grows with its
    square, or the middle of the brackets where that leaves them or comes round the third time. It starts at the edit's value
    (1 if that is 0 or missing) and keeps to the sign of `sign`.
    Baselines are compared at equal KL because equal lengths disturb a host very unequally. Raises ConfigError if the target
    is not above 0 or is out of reach.
    """
    if not (math.isfinite(target) and target > 0):
        raise ConfigError(f"target is {target} nats, wanted a finite KL above 0")
    low, high, value = 0.0, math.inf, abs(edit.value or 1.0)
    for step in range(STEPS):
        trial = edit.model_copy(update={"value": math.copysign(value, sign)})
        kl = _kl(texts, trial)
        if abs(kl - target) <= tolerance * target:
            return trial, kl
        low, high = (value, high) if kl < target else (low, value)
        guess = value * min(max((target / kl) ** 0.5, 0.1), 10.0) if kl > 0 else 10 * value
        value = guess if low < guess < high and (step % 3 < 2 or math.isinf(high)) else (low + min(high, 1e30)) / 2
        if low > LARGEST:
            raise ConfigError(f"edit '{edit.describe()}' does not reach a KL of {target} nats; lower the target")
    raise ConfigError(f"the KL of edit '{edit.describe()}' jumps over {target} nats near value {value:g}")


def _kl(texts: EditedPass, edit: Edit) -> float:
    """Mean KL of an edit; infinite where it leaves no finite logits."""
    try:
        return float(kl_divergence(texts.before, texts.after([edit])).mean())
    except NumericsError:
        return math.inf
