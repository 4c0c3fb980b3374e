"""What an affine network does to an impulse, and to no input at all."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from jaxtyping import Float, Num, Shaped

LARGEST_DENOMINATOR = 20


@dataclass(frozen=True)
class Response:
    """y_t = r_t + sum_k G_k x_{t-k}: all there is to know of an affine system up to T steps."""

    impulse: Shaped[np.ndarray, "t o i"]
    """G_k, the effect of an input on the output k steps later: C W^k V for h' = W h + V x + b, y = C h + d."""
    rest: Shaped[np.ndarray, "t o"]
    """r_t, the output of step t when all inputs are 0."""
    residual: float
    """Largest |y - prediction| over the data it was measured on."""

    def predict(self, xs: Num[np.ndarray, "n t i"]) -> Float[np.ndarray, "n t o"]:
        """Return r_t + sum_k G_k x_{t-k}, for sequences no longer than the response."""
        steps = xs.shape[1]
        outputs = np.repeat(self.rest[None, :steps].astype(float), len(xs), axis=0)
        for k in range(steps):
            outputs[:, k:] += xs[:, : steps - k] @ self.impulse[k].T.astype(float)
        return outputs


def measure_response(xs: Num[np.ndarray, "n t i"], ys: Float[np.ndarray, "n t o"]) -> Response:
    """Fit r_t and G_k to sequences by least squares over all steps at once.

    The responses of a trained network are measured at the size of inputs it knows, not with impulses it never saw.
    """
    n, steps, n_in = xs.shape
    design = np.zeros((n, steps, steps * (n_in + 1)))
    for k in range(steps):
        design[:, k:, k * n_in : (k + 1) * n_in] = xs[:, : steps - k]
        design[:, k, steps * n_in + k] = 1
    flat, targets = design.reshape(n * steps, -1), ys.reshape(n * steps, -1)
    solution = np.linalg.lstsq(flat, targets, rcond=None)[0]
    residual = float(np.abs(targets - flat @ solution).max())
    impulse = solution[: steps * n_in].reshape(steps, n_in, -1).transpose(0, 2, 1)
    return Response(impulse, solution[steps * n_in :], residual)


def rounded(response: Response, tolerance: float = 0.2) -> Response | None:
    """Return the response with every number as a Fraction of one small denominator q <= 20; None if none fits.

    q fits when every number lies within tolerance / q of a multiple of 1/q; the smallest is taken.
    """
    numbers = np.concatenate([response.impulse.ravel(), response.rest.ravel()]).astype(float)
    for q in range(1, LARGEST_DENOMINATOR + 1):
        if np.abs(numbers * q - np.rint(numbers * q)).max() <= tolerance / q:
            return Response(_fractions(response.impulse, q), _fractions(response.rest, q), response.residual)
    return None


def _fractions(values: np.ndarray, q: int) -> np.ndarray:
    flat = [Fraction(int(v), q) for v in np.rint(values.ravel().astype(float) * q)]
    result = np.empty(len(flat), dtype=object)
    result[:] = flat
    return result.reshape(values.shape)
