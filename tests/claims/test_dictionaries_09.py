"""top-AFA dictionaries and the lengths of codes beside activations."""

from __future__ import annotations

import pytest
import torch
from torch.nn.functional import normalize

from pellucid.core.config import build
from pellucid.core.errors import ConfigError
from pellucid.data import PlantedData
from pellucid.dictionaries import TopAfaConfig, TopAfaDictionary, make_dictionary
from pellucid.evaluation.quasi_orthogonality import coherence, compare_norms, least_epsilon, norm_bounds

ATOMS, D, ACTIVE, TOKENS = 2000, 768, 32, 2000


def _random_codes(atoms: torch.Tensor, active: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Lengths of x and f for tokens of `active` random atoms with coefficients between 0.5 and 1.5."""
    generator = torch.Generator().manual_seed(1)
    chosen = torch.rand(TOKENS, ATOMS, generator=generator).topk(active).indices
    strength = 0.5 + torch.rand(TOKENS, active, generator=generator)
    x = torch.zeros(TOKENS, ATOMS).scatter(1, chosen, strength) @ atoms
    return x.norm(dim=1), strength.norm(dim=1)


@pytest.fixture(scope="module")
def atoms():
    return normalize(torch.randn(ATOMS, D, generator=torch.Generator().manual_seed(0)), dim=1)


def test_dictionaries_09_1_lengths_agree_on_average_where_the_bound_says_nothing(atoms):
    x, f = _random_codes(atoms, ACTIVE)
    assert float((x / f).mean()) == pytest.approx(0.999, abs=0.003)
    assert float((x / f).std()) == pytest.approx(0.027, abs=0.003)
    epsilon, h = coherence(atoms), torch.full((TOKENS,), ACTIVE)
    # the largest of two million cosines of deviation 768^-1/2: 98 of 100 draws lie between 0.169 and 0.206
    assert 0.169 < epsilon < 0.206 and 1 - epsilon * (ACTIVE - 1) < 0
    low, high = norm_bounds(x, h, epsilon)
    assert bool(high.isinf().all()) and bool((low <= f).all())
    assert float(least_epsilon(x, f, h).max()) < 0.05 * epsilon, "the angles that matter are those of a token's own atoms"


def test_dictionaries_09_1_the_bound_holds_where_epsilon_times_k_minus_1_is_below_1(atoms):
    x, f = _random_codes(atoms, 5)
    epsilon, h = coherence(atoms), torch.full((TOKENS,), 5)
    assert epsilon * 4 < 1
    low, high = norm_bounds(x, h, epsilon)
    assert bool((low <= f).all()) and bool((f <= high).all()) and bool(high.isfinite().all())
    assert float(least_epsilon(x, f, h).max()) <= epsilon


def test_dictionaries_09_2_the_number_of_latents_is_the_best_for_each_token():
    x = PlantedData().train_batch(0, 200).inputs
    dictionary = make_dictionary(TopAfaConfig(n_latents=64), 32, torch.Generator().manual_seed(0), x)
    assert isinstance(dictionary, TopAfaDictionary)
    with torch.no_grad():
        dictionary.encoder_bias.fill_(-0.05)
        codes, pre = dictionary.encode(x).double(), dictionary.preactivations(x).relu().double()
    lengths, sizes = (x - dictionary.decoder_bias.detach()).double().norm(dim=1), (codes > 0).sum(dim=1)
    for row, (found, length) in enumerate(zip(codes, lengths, strict=True)):
        ordered = pre[row].sort(descending=True).values
        gaps = [abs(float(ordered[:k].square().sum().sqrt() - length)) for k in range(1, 65)]
        assert abs(float(found.norm() - length)) == pytest.approx(min(gaps), abs=1e-5)
    assert len(sizes.unique()) > 5
    compared = compare_norms(dictionary, x)
    assert torch.equal(compared.active, sizes) and compared.epsilon.shape == (200,)


def test_dictionaries_09_3_there_is_no_k_to_choose():
    assert not {"k", "top_k", "topk"} & set(TopAfaConfig.model_fields)
    with pytest.raises(ConfigError, match="unknown key 'k'"):
        build(TopAfaConfig, {"kind": "top_afa", "k": 3})
