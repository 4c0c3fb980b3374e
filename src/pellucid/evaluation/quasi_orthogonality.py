"""How far the lengths of codes and activations agree, and what that says of the angles between active atoms."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn.functional import normalize

from pellucid.core.errors import ConfigError
from pellucid.dictionaries import Dictionary, inference

CHUNK = 2048
"""Atoms compared at a time."""


@dataclass(frozen=True)
class NormComparison:
    """Lengths of activations and of their codes, token by token: the data of a ZF plot."""

    x: Float[Tensor, " n"]
    """|x - decoder_bias|."""
    z: Float[Tensor, " n"]
    """|z|, each code times the length of its atom."""
    active: Int[Tensor, " n"]
    """Active latents h."""

    @property
    def epsilon(self) -> Float[Tensor, " n"]:
        """Least epsilon of each token that its lengths allow, see `least_epsilon`."""
        return least_epsilon(self.x, self.z, self.active)


def coherence(atoms: Float[Tensor, "m d"]) -> float:
    """Return the largest |cosine| between two different atoms, float64; 0 for one atom.

    Atoms are epsilon-quasi-orthogonal if this is at most epsilon.
    """
    unit, largest = normalize(atoms.detach().double(), dim=1), 0.0
    for start in range(0, len(unit), CHUNK):
        cosines = (unit[start : start + CHUNK] @ unit.T).abs()
        places = torch.arange(len(cosines), device=cosines.device)
        cosines[places, start + places] = 0
        largest = max(largest, float(cosines.max()))
    return largest


def norm_bounds(
    x: Float[Tensor, " n"], active: Int[Tensor, " n"], epsilon: float
) -> tuple[Float[Tensor, " n"], Float[Tensor, " n"]]:
    """Return the least and the largest |z| that the theorem of top-AFA allows (arXiv 2503.24277).

        |x|^2 / (1 + epsilon (h - 1)) <= |z|^2 <= |x|^2 / (1 - epsilon (h - 1))

    for x = z @ atoms with h active atoms that are epsilon-quasi-orthogonal. Where epsilon (h - 1) reaches 1 the upper bound
    is infinite: the theorem says nothing there. Raises ConfigError if epsilon is negative.
    """
    if epsilon < 0:
        raise ConfigError(f"epsilon is {epsilon}, wanted 0 or more")
    spread = epsilon * (active - 1).clamp_min(0).to(x.dtype)
    upper = torch.where(spread < 1, x / (1 - spread).clamp_min(torch.finfo(x.dtype).tiny).sqrt(), float("inf"))
    return x / (1 + spread).sqrt(), upper


def least_epsilon(x: Float[Tensor, " n"], z: Float[Tensor, " n"], active: Int[Tensor, " n"]) -> Float[Tensor, " n"]:
    """Return eps_LBO, the least epsilon at which |x| and |z| of a token satisfy `norm_bounds`.

        epsilon = | |x|^2 / |z|^2 - 1 | / (h - 1)

    NaN where h < 2, as one atom has no angle with itself. A lower bound on the coherence of the atoms in use if the
    dictionary reconstructs the token exactly; above 1 no unit atoms whatever fit.
    """
    gap = (x.double().square() / z.double().square() - 1).abs()
    return torch.where(active > 1, gap / (active - 1).clamp_min(1), float("nan")).to(x.dtype)


@torch.no_grad()
def compare_norms(dictionary: Dictionary, x: Float[Tensor, "n d"]) -> NormComparison:
    """Measure the lengths of activations and of the codes a dictionary gives them in inference mode.

    Below the diagonal of |z| over |x| a token is under-activated, above it over-activated.
    """
    with inference([dictionary]):
        codes = dictionary(x).codes
    strength = codes * dictionary.decoder.norm(dim=1)
    return NormComparison((x - dictionary.decoder_bias).norm(dim=1), strength.norm(dim=1), (codes > 0).sum(dim=1))
