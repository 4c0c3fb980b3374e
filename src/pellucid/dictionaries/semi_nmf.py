"""Semi-nonnegative matrix factorisation: rows are nonnegative mixtures of signed atoms, by multiplicative updates."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from pellucid.core.errors import ConfigError, NumericsError, raise_all

Start = Literal["random", "svd", "kmeans"]
LEAST = 1e-12
"""Added to both parts of a multiplicative update, so that 0 / 0 changes nothing."""
IMPROVED = 1e-6
"""Share of the squared error by which it must fall to count as an improvement."""


@dataclass(frozen=True)
class Factors:
    """x is about codes @ atoms."""

    atoms: Float[Tensor, "m d"]
    codes: Float[Tensor, "n m"]
    errors: list[float]
    """Relative error |x - codes @ atoms| / |x| (Frobenius) after each iteration."""


@torch.no_grad()
def factorise(
    x: Float[Tensor, "n d"],
    n_latents: int,
    *,
    winners: float = 1.0,
    start: Start = "random",
    iterations: int = 400,
    patience: int = 100,
    ridge: float = 1e-6,
    generator: torch.Generator | None = None,
) -> Factors:
    """Return the factors of a whole matrix (Ding et al. 2010; Shafran et al. 2025, arXiv 2506.10920).

    An iteration is `solved_atoms`, `strongest_only`, `updated_codes`. It ends when the error has not improved for
    `patience` iterations. With `winners` 1 and ridge 0 the error never rises. Computed in float64.
    Raises ConfigError for settings out of range or more centroids or singular vectors than there are rows, NumericsError
    if x is all zero or not finite.
    """
    x = x.detach().double()
    problems = [f"n_latents is {n_latents}, wanted 1 or more"] if n_latents < 1 else []
    problems += [f"winners is {winners}, wanted more than 0 and at most 1"] if not 0 < winners <= 1 else []
    problems += [f"iterations is {iterations}, wanted 1 or more"] if iterations < 1 else []
    raise_all(problems, ConfigError)
    norm = float(x.norm())
    if not 0 < norm < float("inf"):
        raise NumericsError(f"the matrix to factorise has norm {norm}: it is all zero or not finite. Check the site")
    codes = start_codes(x, n_latents, start, generator)
    errors: list[float] = []
    best, since = float("inf"), 0
    for _ in range(iterations):
        atoms = strongest_only(solved_atoms(codes.T @ x, codes.T @ codes, ridge), winners)
        codes = updated_codes(x, atoms, codes)
        errors.append(float((x - codes @ atoms).norm()) / norm)
        improved = errors[-1] ** 2 < best * (1 - IMPROVED)
        best, since = (errors[-1] ** 2, 0) if improved else (best, since + 1)
        if since >= patience:
            break
    return Factors(atoms, codes, errors)


def hierarchy(x: Float[Tensor, "n d"], sizes: Sequence[int], **settings: object) -> list[Factors]:
    """Factorise x, then the atoms found, and so on: level i has sizes[i] atoms, each made of those of level i - 1.

    `settings` are those of `factorise`. Row r of level i's codes (i > 0) says of which atoms of level i atom r of the
    level before is a mixture. ConfigError if sizes do not fall.
    """
    if not sizes or any(after >= before for before, after in itertools.pairwise(sizes)):
        raise ConfigError(f"the sizes of a hierarchy are {list(sizes)}, wanted falling ones, such as 400, 200, 100, 50")
    levels: list[Factors] = []
    for size in sizes:
        levels.append(factorise(levels[-1].atoms if levels else x, size, **settings))  # type: ignore[arg-type]
    return levels


def solved_atoms(moment: Float[Tensor, "m d"], gram: Float[Tensor, "m m"], ridge: float) -> Float[Tensor, "m d"]:
    """Return the atoms with the least squared error for given codes: (Y'Y + ridge I)^-1 Y'X, columns of Y of unit norm.

    `moment` is Y'X and `gram` Y'Y. The codes' scale is divided out before the ridge is added, and put back.
    """
    scale = gram.diagonal().sqrt().clamp_min(LEAST)
    unit = gram / scale / scale.unsqueeze(1)
    unit.diagonal().add_(ridge)
    right = moment / scale.unsqueeze(1)
    solved, failed = torch.linalg.solve_ex(unit, right)
    if int(failed) or not bool(solved.isfinite().all()):
        solved = torch.linalg.lstsq(unit, right, driver="gelsd").solution
    return solved / scale.unsqueeze(1)


def strongest_only(atoms: Float[Tensor, "m d"], winners: float) -> Float[Tensor, "m d"]:
    """Keep of each atom the share `winners` of its entries that are largest in size (at least one), the others 0."""
    keep = max(1, round(winners * atoms.shape[1]))
    if keep == atoms.shape[1]:
        return atoms
    places = atoms.abs().topk(keep, dim=1).indices
    return torch.zeros_like(atoms).scatter_(1, places, atoms.gather(1, places))


def updated_codes(
    x: Float[Tensor, "n d"], atoms: Float[Tensor, "m d"], codes: Float[Tensor, "n m"], times: int = 1
) -> Float[Tensor, "n m"]:
    """Return codes o sqrt((P+ + codes Q-) / (P- + codes Q+)), P = x atoms', Q = atoms atoms', +/- their two parts; repeated.

    The squared error never rises and what is at least 0 stays so.
    """
    p, q = x @ atoms.T, atoms @ atoms.T
    p_up, p_down = p.relu().add_(LEAST), (-p).relu_().add_(LEAST)
    q_up, q_down = (-q).relu_(), q.relu()
    codes, up, down = codes.clone(), torch.empty_like(p), torch.empty_like(p)
    for _ in range(times):
        torch.addmm(p_up, codes, q_up, out=up)
        torch.addmm(p_down, codes, q_down, out=down)
        codes.mul_(up.div_(down).sqrt_())
    return codes


def start_codes(x: Float[Tensor, "n d"], m: int, start: Start, generator: torch.Generator | None) -> Float[Tensor, "n m"]:
    """Return codes to start from: uniform in [0, 1], singular vectors at least 0, or which centroid of k-means is nearest."""
    if start == "random":
        return torch.rand(len(x), m, generator=generator, dtype=x.dtype)
    atoms = start_atoms(x, m, start, generator)
    if start == "svd":
        left, values, _ = torch.linalg.svd(x, full_matrices=False)
        return (left[:, :m] * values[:m].sqrt()).clamp_min(1e-6)
    nearest = torch.cdist(x, atoms).argmin(dim=1)
    return torch.nn.functional.one_hot(nearest, m).to(x.dtype) + 0.2  # as Ding et al. start theirs


def start_atoms(x: Float[Tensor, "n d"], m: int, start: Start, generator: torch.Generator | None) -> Float[Tensor, "m d"]:
    """Return atoms to start from: standard normal, singular vectors times the roots of their values, or centroids.

    ConfigError if there are fewer rows (singular vectors: or dimensions) than atoms.
    """
    most = min(x.shape) if start == "svd" else len(x)
    if start != "random" and m > most:
        raise ConfigError(f"{m} atoms cannot start by '{start}' from a matrix of {len(x)} rows of {x.shape[1]}; at most {most}")
    if start == "random":
        return torch.randn(m, x.shape[1], generator=generator, dtype=x.dtype)
    if start == "svd":
        _, values, right = torch.linalg.svd(x, full_matrices=False)
        return right[:m] * values[:m].sqrt().unsqueeze(1)
    from pellucid.dictionaries.archetypal import chosen_points

    return chosen_points(x, m, "centroids", generator)
