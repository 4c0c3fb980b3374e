"""Semi-nonnegative matrix factorisation of activations."""

from __future__ import annotations

from functools import cache

import pytest
import torch

from pellucid.dictionaries.semi_nmf import Factors, factorise
from pellucid.evaluation.recovery import match

FEATURES, NEURONS, USED, TOKENS = 10, 200, 6, 600


@cache
def planted() -> tuple[torch.Tensor, torch.Tensor]:
    """Features of 6 of 200 neurons, each active on about a third of the tokens."""
    generator = torch.Generator().manual_seed(0)
    atoms = torch.zeros(FEATURES, NEURONS, dtype=torch.float64)
    for row in atoms:
        row[torch.randperm(NEURONS, generator=generator)[:USED]] = torch.randn(USED, generator=generator, dtype=torch.float64)
    active = torch.rand(TOKENS, FEATURES, generator=generator) < 0.3
    return (torch.rand(TOKENS, FEATURES, generator=generator, dtype=torch.float64) * active) @ atoms, atoms


@cache
def found(winners: float) -> Factors:
    return factorise(planted()[0], FEATURES, winners=winners, iterations=400, patience=10**6,
                     generator=torch.Generator().manual_seed(0))  # fmt: skip


def test_dictionaries_18_1_the_error_never_rises_without_winners():
    errors = torch.tensor(found(1.0).errors, dtype=torch.float64)
    assert len(errors) == 400 and (errors.diff() <= 1e-9).all() and errors[-1] < 0.5 * errors[0]


@pytest.mark.parametrize("winners", [1.0, 0.03])
def test_dictionaries_18_2_codes_are_never_negative(winners):
    assert (found(winners).codes >= 0).all()


def test_dictionaries_18_3_sparsity_picks_the_rotation():
    """Measured: matched cosine 0.784 -> 0.900, relative error 0.008 -> 0.288 (the sheet: 0.70 -> 0.90, 0.002 -> 0.039)."""
    dense, sparse = found(1.0), found(0.03)
    truth = planted()[1]
    cosines = [match(each.atoms, truth).mcs for each in (dense, sparse)]
    assert cosines[1] - cosines[0] > 0.1 and cosines[1] == pytest.approx(0.90, abs=0.05)
    assert sparse.errors[-1] > dense.errors[-1]
