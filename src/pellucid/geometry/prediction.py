"""Units of one network predicted from few units of another (Li et al. 2015, arXiv 1511.07543)."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from pellucid.core.errors import ConfigError
from pellucid.geometry.matching import _standardised


def sparse_prediction(
    a: Float[Tensor, "n m"], b: Float[Tensor, "n k"], *, n_units: int | None = None, penalty: float | None = None
) -> tuple[Float[Tensor, "m k"], Float[Tensor, " m"]]:
    """Return weights that predict each standardised unit of `a` from those of `b`, and R^2 = 1 - E(a - b w)^2 of each.

    Either with at most `n_units` weights for each (orthogonal matching pursuit) or with an L1 `penalty` lambda, minimising
    E(a - b w)^2 / 2 + lambda |w|_1 (the paper decays 0, 1e-5 .. 1e-1). R^2 is on the rows given: pass rows that were held
    out through `b @ w` for another. ConfigError if not exactly one of the two is given, or scikit-learn is not installed.
    """
    if (n_units is None) == (penalty is None):
        raise ConfigError("give either n_units or penalty")
    if n_units is not None and not 1 <= n_units <= b.shape[1]:
        raise ConfigError(f"n_units is {n_units}, wanted 1 to {b.shape[1]}")
    try:
        from sklearn.linear_model import Lasso, LinearRegression, orthogonal_mp
    except ImportError:
        raise ConfigError("sparse prediction needs scikit-learn: pip install 'pellucid[geometry]'") from None
    x, y = _standardised(b).cpu().numpy(), _standardised(a).cpu().numpy()
    if n_units is not None:
        found = orthogonal_mp(x, y, n_nonzero_coefs=n_units).T
    else:
        model = Lasso(alpha=penalty, fit_intercept=False, max_iter=10_000) if penalty else LinearRegression(fit_intercept=False)
        found = model.fit(x, y).coef_
    weights = torch.as_tensor(found, dtype=torch.float64).reshape(a.shape[1], b.shape[1])
    left = torch.from_numpy(y) - torch.from_numpy(x) @ weights.T
    return weights, 1 - left.square().mean(dim=0)
