"""InfoMEC: how modular, compact and explicit a code is about the sources that made its data."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int, Num
from torch import Tensor

from pellucid.core.errors import ConfigError, raise_all

NEIGHBOURS = 10
"""Neighbours of the mutual information of continuous latents."""
LEAST_RANGE = 1 / 20
"""A continuous latent whose range is a smaller share of the largest one counts as inactive."""


@dataclass(frozen=True)
class InfoMEC:
    """The three numbers, each 1 at best and about 0 at worst, and what they were taken from."""

    modularity: float
    """InfoM: (mean_j max_i N_ij / sum_i N_ij - 1 / n_s) / (1 - 1 / n_s): each latent is about one source."""
    compactness: float
    """InfoC: (mean_i max_j N_ij / sum_j N_ij - 1 / n_z) / (1 - 1 / n_z): each source is in one latent."""
    explicitness: float
    """InfoE: mean_i (H_null - H_cond) / H_null: how well a linear classifier of the latents tells the source."""
    information: Float[Tensor, "s z"]
    """N_ij = I(source i; latent j) / H(source i) of the active latents."""
    active: Bool[Tensor, " all"]
    """Which latents count: those that vary."""


def infomec(sources: Int[Tensor, "n s"], latents: Num[Tensor, "rows z"], *, discrete: bool = True) -> InfoMEC:
    """Return InfoM, InfoC and InfoE (Hsu et al. 2023, arXiv 2305.18378, section 4) of latents about discrete sources.

    `discrete` latents take few values, and their mutual information is the plug-in estimate; otherwise it is that of
    k nearest neighbours. Latents of range 0 (continuous: below a twentieth of the largest) are left out. H_cond is the
    cross-entropy of an unregularised multinomial logistic regression with classes weighted alike, on one-hot latents
    (continuous: standardised ones), on the rows it was fitted to; H_null is log of the number of classes. With no
    active latent all three are 0; with a single one compactness is NaN.
    Raises ConfigError if there are fewer than two sources, a constant one, or other rows than latents.
    """
    problems = [f"there are {sources.shape[1]} sources, wanted 2 or more"] if sources.shape[1] < 2 else []
    problems += [f"{len(sources)} rows of sources, {len(latents)} of latents; wanted the same"] * (len(sources) != len(latents))
    constant = [i for i in range(sources.shape[1]) if len(sources[:, i].unique()) < 2]
    raise_all(problems + [f"source {i} never varies" for i in constant], ConfigError)
    ranges = (latents.amax(dim=0) - latents.amin(dim=0)).double()
    active = ranges > (0 if discrete else LEAST_RANGE * ranges.max())
    latents = latents[:, active]
    n_s, n_z = sources.shape[1], latents.shape[1]
    if n_z == 0:
        return InfoMEC(0.0, 0.0, 0.0, torch.zeros(n_s, 0, dtype=torch.float64), active)
    shares = torch.stack([_information(source, latents, discrete) / entropy(source) for source in sources.T])
    explicit = [explicitness(source, latents, discrete=discrete) for source in sources.T]
    return InfoMEC(gap(shares.T, n_s), gap(shares, n_z) if n_z > 1 else float("nan"), sum(explicit) / n_s, shares, active)


def entropy(values: Num[Tensor, " n"]) -> float:
    """Return the plug-in entropy of discrete values, in nats."""
    shares = values.unique(return_counts=True)[1].double() / len(values)
    return float(-(shares * shares.log()).sum())


def plug_in_information(a: Num[Tensor, " n"], b: Num[Tensor, " n"]) -> float:
    """Return I(a; b) = H(a) + H(b) - H(a, b) of discrete values, in nats, from their frequencies."""
    labels = [values.unique(return_inverse=True)[1] for values in (a, b)]
    joint = labels[0] * (int(labels[1].max()) + 1) + labels[1]
    return max(0.0, entropy(a) + entropy(b) - entropy(joint))


def explicitness(source: Int[Tensor, " n"], latents: Num[Tensor, "n z"], *, discrete: bool = True) -> float:
    """Return (H_null - H_cond) / H_null of one source; see `infomec`."""
    learn = _sklearn()
    features = _one_hot(latents) if discrete else (latents - latents.mean(dim=0)) / latents.std(dim=0)
    labels = source.unique(return_inverse=True)[1]
    weights = 1 / torch.bincount(labels).double()[labels]
    model = learn.linear_model.LogisticRegression(C=float("inf"), class_weight="balanced", max_iter=500, tol=1e-4)
    x, y = features.double().cpu().numpy(), labels.cpu().numpy()
    probabilities = torch.from_numpy(model.fit(x, y).predict_proba(x))
    chosen = probabilities.gather(1, labels.cpu().unsqueeze(1)).squeeze(1).clamp_min(1e-300)
    conditional = float(-(weights.cpu() * chosen.log()).sum() / weights.sum())
    null = torch.tensor(float(labels.max() + 1)).log().item()
    return (null - conditional) / null


def gap(shares: Float[Tensor, "a b"], n: int) -> float:
    """Return (mean over rows of largest / sum - 1 / n) / (1 - 1 / n); a row of zeros is spread evenly."""
    sums = shares.sum(dim=1)
    largest = torch.where(sums > 0, shares.amax(dim=1) / torch.where(sums > 0, sums, 1.0), 1 / n)
    return float((largest.mean() - 1 / n) / (1 - 1 / n))


def _information(source: Tensor, latents: Tensor, discrete: bool) -> Float[Tensor, " z"]:
    if discrete:
        return torch.tensor([plug_in_information(source, latent) for latent in latents.T], dtype=torch.float64)
    estimate = _sklearn().feature_selection.mutual_info_classif
    found = estimate(latents.cpu().numpy(), source.cpu().numpy(), n_neighbors=NEIGHBOURS, random_state=0)
    return torch.from_numpy(found)


def _one_hot(latents: Num[Tensor, "n z"]) -> Float[Tensor, "n v"]:
    columns = [torch.nn.functional.one_hot(latent.unique(return_inverse=True)[1]) for latent in latents.T]
    return torch.cat(columns, dim=1).float()


def _sklearn():  # type: ignore[no-untyped-def]
    try:
        import sklearn.feature_selection
        import sklearn.linear_model
    except ImportError:
        raise ConfigError("InfoMEC needs scikit-learn. Install the extra: pip install 'pellucid[geometry]'") from None
    return sklearn
