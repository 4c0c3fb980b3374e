"""Directions that atoms may start along, for every architecture (Sharkey, Braun & Millidge 2022)."""

from __future__ import annotations

from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import normalize

from pellucid.core.errors import ConfigError, NumericsError

AtomInit = Literal["own", "orthogonal", "weights", "basis", "data"]


def start_directions(
    init: AtomInit,
    m: int,
    d: int,
    noise: float,
    *,
    generator: torch.Generator | None = None,
    sample: Float[Tensor, "n d"] | None = None,
    weights: Float[Tensor, "d r"] | None = None,
) -> Float[Tensor, "m d"]:
    """Return m unit directions in d dimensions.

        orthogonal   sets of d orthonormal directions, drawn at random, as many as are needed; noise has no part
        weights      left singular vectors of `weights`, largest value first, then their opposites, and again
        basis        the unit vectors of the dimensions, then their opposites, and again
        data         rows of `sample` less its mean, in random order, and again
    The last three: normalise(direction + noise * a random unit vector), so that equal ones part. Opposites, because codes
    are at least 0: a direction and its opposite are two features.
    Raises ConfigError if `sample` or `weights` is missing or of another width, NumericsError if it is all zero or not finite.
    """
    if init == "orthogonal":
        return torch.cat([_orthonormal(d, generator) for _ in range(0, m, d)])[:m]
    if init == "basis":
        found = torch.eye(d)
        found = torch.cat([found, -found])
    elif init == "weights":
        left = torch.linalg.svd(_checked(weights, "weights", d, 0), full_matrices=False)[0].T
        found = torch.cat([left, -left])
    elif init == "data":
        rows = _checked(sample, "sample", d, 1)
        rows = rows - rows.mean(dim=0)
        rows = rows[rows.norm(dim=1) > 0]
        if len(rows) == 0:
            raise NumericsError("atom_init 'data' needs activations that differ, but those of the sample are all equal")
        found = rows[torch.randperm(len(rows), generator=generator)]
    else:
        raise ConfigError(f"atom_init '{init}' leaves the directions to the architecture")
    found = normalize(found.float(), dim=1)
    found = found.repeat(-(-m // len(found)), 1)[:m]
    return normalize(found + noise * normalize(torch.randn(m, d, generator=generator), dim=1), dim=1)


def _orthonormal(d: int, generator: torch.Generator | None) -> Float[Tensor, "d d"]:
    return torch.nn.init.orthogonal_(torch.empty(d, d), generator=generator)


def _checked(values: Tensor | None, what: str, d: int, axis: int) -> Float[Tensor, "a b"]:
    """Return the matrix in float64 once it is known to fit."""
    needs = f"atom_init '{'data' if what == 'sample' else what}'"
    if values is None or values.numel() == 0:
        raise ConfigError(f"{needs} needs {what} of the site, got none. Pass {what}=, or use another atom_init")
    if values.shape[axis] != d:
        raise ConfigError(f"{needs}: the {what} are for width {values.shape[axis]}, the atoms have {d}")
    values = values.detach().double()
    if not bool(values.isfinite().all()) or not bool(values.any()):
        raise NumericsError(f"{needs}: the {what} are all zero or not finite. Check the host")
    return values
