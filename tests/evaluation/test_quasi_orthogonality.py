from __future__ import annotations

import math

import pytest
import torch
from torch.testing import assert_close

from pellucid.core.errors import ConfigError
from pellucid.dictionaries import ReluConfig, make_dictionary
from pellucid.evaluation.quasi_orthogonality import CHUNK, coherence, compare_norms, least_epsilon, norm_bounds


def _normal(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0))


def test_coherence_is_the_largest_cosine_of_two_atoms():
    atoms = 3 * _normal(40, 6)
    cosines = [
        abs(float(atoms[i] @ atoms[j] / atoms[i].norm() / atoms[j].norm())) for i in range(40) for j in range(40) if i != j
    ]
    assert coherence(atoms) == pytest.approx(max(cosines), abs=1e-6)
    assert coherence(torch.eye(5)) == 0 and coherence(atoms[:1]) == 0
    apart = _normal(CHUNK + 3, 40)
    apart[-1] = -apart[1]
    assert coherence(apart) == pytest.approx(1)


def test_bounds_hold_for_every_vector_of_quasi_orthogonal_atoms():
    atoms = torch.nn.functional.normalize((torch.eye(12) + 0.02 * _normal(12, 12)).double(), dim=1)
    epsilon, h = coherence(atoms), torch.arange(1, 13)
    z = torch.stack([_normal(12).double() * (torch.arange(12) < n) for n in h])
    x = (z @ atoms).norm(dim=1)
    low, high = norm_bounds(x, h, epsilon)
    assert epsilon > 0.05 and bool((low <= z.norm(dim=1) + 1e-12).all()) and bool((z.norm(dim=1) <= high + 1e-12).all())
    assert bool((least_epsilon(x, z.norm(dim=1), h)[1:] <= epsilon).all())
    assert math.isnan(float(least_epsilon(x, z.norm(dim=1), h)[0]))


def test_the_least_epsilon_makes_one_of_the_bounds_tight():
    x, z, h = torch.tensor([2.0, 1.0]).double(), torch.tensor([1.9, 1.2]).double(), torch.tensor([4, 7])
    for i, epsilon in enumerate(least_epsilon(x, z, h).tolist()):
        low, high = norm_bounds(x, h, epsilon)
        assert_close((low, high)[i][i], z[i])
    assert norm_bounds(x, h, 0.5)[1].tolist() == [math.inf] * 2, "0.5 * 3 is above 1"
    with pytest.raises(ConfigError, match=r"epsilon is -1\.0, wanted 0 or more"):
        norm_bounds(x, h, -1.0)


def test_lengths_are_those_of_a_naive_loop():
    dictionary, x = (
        make_dictionary(ReluConfig(n_latents=9, atom_norm="free"), 4, torch.Generator().manual_seed(1)),
        _normal(7, 4),
    )
    with torch.no_grad():
        dictionary.decoder.mul_(2)
        dictionary.decoder_bias.fill_(0.3)
    found, codes = compare_norms(dictionary, x), dictionary.encode(x).detach()
    for t in range(7):
        by_hand = sum(float(codes[t, i] * dictionary.decoder[i].detach().norm()) ** 2 for i in range(9)) ** 0.5
        assert float(found.z[t]) == pytest.approx(by_hand, rel=1e-5)
        assert float(found.x[t]) == pytest.approx(float((x[t] - 0.3).norm()), rel=1e-5)
        assert int(found.active[t]) == sum(float(code) > 0 for code in codes[t])
    assert dictionary.training and found.epsilon.shape == (7,)
