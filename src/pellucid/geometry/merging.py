"""Iterative feature merging: channels whose weights on both sides are alike become one (arXiv 2310.07756)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from pellucid.core.errors import ConfigError


@dataclass(frozen=True)
class Merged:
    """A layer whose channels were merged."""

    incoming: Float[Tensor, "k i"]
    """Weights into each channel that is left."""
    outgoing: Float[Tensor, "o k"]
    """Weights out of each."""
    groups: Int[Tensor, " n"]
    """Channel that each of the old ones went into."""

    @property
    def n_channels(self) -> int:
        """How many are left."""
        return len(self.incoming)


def merge_features(incoming: Float[Tensor, "n i"], outgoing: Float[Tensor, "o k"], beta: float) -> Merged:
    """Merge channels of one hidden layer; a bias goes in as one more column of `incoming`.

        D_mn = |W_in[m] - W_in[n]|^2 + |W_out[:, m] - W_out[:, n]|^2
        merge the pair of least D: incoming weights are summed, outgoing ones averaged, weighted by how many each holds;
        go on while min D <= beta * max D, D over pairs of different channels that are left

    Distances are between a channel's averages, so that a channel does not move away by having been merged. With equal
    incoming rows a merge changes no output of a ReLU layer: a (v_1 + v_2) = 2a (v_1 + v_2) / 2. Data, biases of
    normalisation and the activation are not looked at. ConfigError if the sides do not fit or beta is not in [0, 1].
    """
    n = len(incoming)
    if outgoing.shape[1] != n or n == 0:
        raise ConfigError(
            f"there are {n} channels with incoming weights and {outgoing.shape[1]} with outgoing; wanted the same"
        )
    if not 0 <= beta <= 1:
        raise ConfigError(f"beta is {beta}, wanted 0 to 1")
    ins, outs = incoming.double().clone(), outgoing.double().T.clone()  # averages of each group
    counts, groups, left = torch.ones(n, dtype=torch.float64), torch.arange(n), torch.ones(n, dtype=torch.bool)
    distances = torch.cdist(torch.cat([ins, outs], 1), torch.cat([ins, outs], 1), compute_mode="donot_use_mm_for_euclid_dist")
    distances = distances.square().fill_diagonal_(torch.inf)
    while int(left.sum()) > 1:
        a, b = divmod(int(distances.argmin()), n)
        finite = distances[distances.isfinite()]
        if float(distances[a, b]) > beta * float(finite.max()):
            break
        total = counts[a] + counts[b]
        for side in (ins, outs):
            side[a] = (counts[a] * side[a] + counts[b] * side[b]) / total
        counts[a], left[b], groups[groups == b] = total, False, a
        distances[b], distances[:, b] = torch.inf, torch.inf
        new = (ins - ins[a]).square().sum(dim=1) + (outs - outs[a]).square().sum(dim=1)
        new[~left], new[a] = torch.inf, torch.inf
        distances[a], distances[:, a] = new, new
    kept = left.nonzero().flatten()
    place = torch.full((n,), -1)
    place[kept] = torch.arange(len(kept))
    summed = ins[kept] * counts[kept].unsqueeze(1)
    return Merged(summed.to(incoming.dtype), outs[kept].T.to(outgoing.dtype), place[groups])


def complexity(incoming: Float[Tensor, "n i"], outgoing: Float[Tensor, "o n"], beta: float) -> int:
    """Return the number of channels that `merge_features` leaves: the layer's feature complexity."""
    return merge_features(incoming, outgoing, beta).n_channels
