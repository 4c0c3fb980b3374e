"""Groups of units that span the same subspace in two networks (Li et al. 2015, arXiv 1511.07543)."""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor

from pellucid.core.errors import ConfigError


def shared_subspaces(table: Float[Tensor, "m k"], n_groups: int, seed: int = 0) -> tuple[Int[Tensor, " m"], Int[Tensor, " k"]]:
    """Return a group for each unit of both networks, by spectral clustering of the correlations between them.

        W = [[0, |C|], [|C|', 0]],  L = I - D^-1/2 W D^-1/2,  D the row sums of W
        k-means on the rows, scaled to unit length, of the eigenvectors of the n_groups smallest eigenvalues

    Only correlations between the networks count. ConfigError if there are fewer units than groups, or scikit-learn is missing.
    """
    m, k = table.shape
    if not 1 <= n_groups <= min(m, k):
        raise ConfigError(f"n_groups is {n_groups}, wanted 1 to {min(m, k)}")
    try:
        from sklearn.cluster import KMeans
    except ImportError:
        raise ConfigError("spectral clustering needs scikit-learn: pip install 'pellucid[geometry]'") from None
    weights = table.double().cpu().abs()
    whole = torch.zeros(m + k, m + k, dtype=torch.float64)
    whole[:m, m:], whole[m:, :m] = weights, weights.T
    scale = whole.sum(dim=1).clamp_min(1e-12).rsqrt()
    # The smallest eigenvalues of L are the largest of D^-1/2 W D^-1/2.
    vectors = torch.linalg.eigh(scale.unsqueeze(1) * whole * scale).eigenvectors[:, -n_groups:]
    rows = torch.nn.functional.normalize(vectors, dim=1)
    labels = torch.from_numpy(KMeans(n_groups, n_init=10, random_state=seed).fit_predict(rows.numpy())).long()
    return labels[:m], labels[m:]
