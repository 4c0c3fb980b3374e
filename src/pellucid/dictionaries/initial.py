"""Starting values shared by the architectures."""

from __future__ import annotations

from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from pellucid.core.errors import ConfigError, NumericsError

BiasInit = Literal["zeros", "mean", "geometric_median"]


def random_unit_rows(m: int, d: int, generator: torch.Generator | None) -> Float[Tensor, "m d"]:
    """Draw m directions uniformly from the unit sphere in d dimensions."""
    return torch.nn.functional.normalize(torch.randn(m, d, generator=generator), dim=-1)


def initial_bias(init: BiasInit, sample: Float[Tensor, "n d"] | None, d_in: int) -> Float[Tensor, " d"]:
    """Return the decoder bias to start from.

    Raises ConfigError if the rule needs a sample and there is none or an empty one; NumericsError if the sample or
    its centre is not finite.
    """
    if init == "zeros":
        return torch.zeros(d_in)
    if sample is None or len(sample) == 0:
        raise ConfigError(f"bias_init '{init}' needs a sample of activations, got none. Pass sample=, or use bias_init 'zeros'")
    if sample.shape[1] != d_in:
        raise ConfigError(f"the sample has width {sample.shape[1]}, the dictionary reads width {d_in}")
    sample = sample.detach().double()
    if not bool(sample.isfinite().all()):
        raise NumericsError(f"the sample for bias_init '{init}' holds values that are not finite. Check the site's activations")
    return sample.mean(dim=0) if init == "mean" else geometric_median(sample)


def geometric_median(points: Float[Tensor, "n d"], steps: int = 200, tolerance: float = 1e-9) -> Float[Tensor, " d"]:
    """Return the point with the least summed distance to `points`, in float64.

    Weiszfeld's iteration, y <- sum_i x_i / |x_i - y| / sum_i 1 / |x_i - y|, from the mean until a step moves y by less
    than `tolerance` times the mean distance. A distance of 0 counts as a tiny one, so a data point may be the answer.
    """
    points = points.double()
    centre = points.mean(dim=0)
    for _ in range(steps):
        distance = (points - centre).norm(dim=1)
        scale = distance.mean()
        if scale == 0:  # all points are equal
            break
        weight = 1 / distance.clamp_min(1e-12 * float(scale))
        moved = weight @ points / weight.sum()
        step = (moved - centre).norm()
        centre = moved
        if step <= tolerance * scale:
            break
    return centre


def input_scale(sample: Float[Tensor, "n d"] | None, centre: Float[Tensor, " d"]) -> float:
    """Return the root mean square distance of the sample's rows from `centre`, sqrt(mean |x - centre|^2).

    Raises ConfigError if there is no sample or an empty one, NumericsError if the distance is 0 or not finite.
    """
    if sample is None or len(sample) == 0:
        raise ConfigError("the input scale is measured on a sample of activations, got none. Pass sample=, or set input_scale")
    scale = float((sample.detach().double() - centre.double()).square().sum(dim=-1).mean().sqrt())
    if not 0 < scale < float("inf"):
        raise NumericsError(
            f"the activations of the sample have the input scale {scale}: they are all equal or not finite. "
            f"Check the site, take a larger sample, or set input_scale"
        )
    return scale
