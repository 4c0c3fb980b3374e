"""The atomic inner product: lengths and angles as activations, not coordinates, define them."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from pellucid.core.errors import ConfigError, NumericsError

FLOOR = 1e-10
"""Least eigenvalue of the second moment that counts, as a share of the mean: directions no activation uses stay finite."""


def atomic_metric(sample: Float[Tensor, "n d"] | None, d_in: int) -> Float[Tensor, "d d"]:
    """Return S = (E[x x'])^-1 over the sample, float64 (arXiv 2509.20784).

    Eigenvalues of the moment below FLOOR times their mean count as that. Without such, S of rows x T' is T'^-1 S T^-1 for
    any invertible T: inner products of rows do not depend on the coordinates they are written in.
    Raises ConfigError if there is no sample or fewer rows than dimensions, NumericsError if it is zero or not finite.
    """
    rows = 0 if sample is None else len(sample)
    if sample is None or rows < d_in:
        raise ConfigError(
            f"the atomic inner product of width {d_in} needs at least as many activations, got {rows}. "
            f"Raise sample_rows, or set atomic to false"
        )
    moment = sample.detach().double().T @ sample.detach().double() / rows
    mean = float(moment.diagonal().mean())
    if not 0 < mean < float("inf"):
        raise NumericsError("the sample's activations are all zero or not finite. Check the site")
    values, vectors = torch.linalg.eigh(moment)
    if float(values[0]) >= FLOOR * mean:
        inverse = torch.linalg.inv(moment)  # exact to more digits than the sum over eigenvectors
        return (inverse + inverse.T) / 2
    return (vectors / values.clamp_min(FLOOR * mean)) @ vectors.T


def inverse_root(metric: Float[Tensor, "d d"]) -> Float[Tensor, "d d"]:
    """Return T = S^(-1/2), float64: the S-products of rows @ T are the Euclidean ones of rows."""
    values, vectors = torch.linalg.eigh(metric.double())
    return (vectors / values.clamp_min(torch.finfo(torch.float64).tiny).sqrt()) @ vectors.T


def atomic_product(
    u: Float[Tensor, "n d"], v: Float[Tensor, "m d"], metric: Float[Tensor, "d d"], *, normalised: bool = False
) -> Float[Tensor, "n m"]:
    """Return <u_i, v_j>_S = u_i' S v_j of all pairs of rows; with `normalised` divided by both S-norms.

    A row of zeros has product 0 with all. With S the identity this is the Euclidean product, or the cosine.
    """
    products = u @ metric @ v.T
    if not normalised:
        return products
    lengths = [((rows @ metric) * rows).sum(dim=1).clamp_min(0).sqrt() for rows in (u, v)]
    scale = lengths[0].unsqueeze(1) * lengths[1]
    return torch.where(scale > 0, products / torch.where(scale > 0, scale, 1.0), 0.0)
