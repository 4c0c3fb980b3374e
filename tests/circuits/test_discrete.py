from __future__ import annotations

import pytest
import torch

from pellucid.circuits import area_under_curve, fit_discrete, node_scores, score_heads
from pellucid.core.config import build
from pellucid.core.errors import ConfigError, DataError, NumericsError
from pellucid.data import PlantedCircuitConfig, planted_circuit
from pellucid.dictionaries import DiscreteConfig

SMALL = PlantedCircuitConfig(n_heads=6, width=4, n_circuit=2)


def test_scores_count_the_codes_of_positive_examples_alone():
    positive = torch.tensor([[1, 5, 3], [2, 5, 3], [2, 6, 4]])
    negative = torch.tensor([[2, 5, 7], [9, 6, 7]])
    found = node_scores(positive, negative)
    assert found.count.tolist() == [1, 0, 2]
    assert found.share.tolist() == pytest.approx([1 / 3, 0, 2 / 3])


def test_the_area_equals_a_count_over_pairs():
    scores, members = torch.tensor([3, 1, 2, 2, 5, 0]), torch.tensor([True, False, True, False, False, False])
    pairs = [(int(a), int(b)) for a in scores[members] for b in scores[~members]]
    by_hand = sum(1.0 if a > b else 0.5 if a == b else 0.0 for a, b in pairs) / len(pairs)
    assert area_under_curve(scores, members) == pytest.approx(by_hand)
    assert area_under_curve(torch.zeros(6), members) == 0.5


def test_training_lowers_the_loss_on_the_examples():
    circuit = planted_circuit(SMALL)
    rows = torch.cat([circuit.positive, circuit.negative])
    left = []
    for steps in (1, 300):
        dictionary = fit_discrete(rows, DiscreteConfig(n_latents=12), steps=steps, generator=torch.Generator().manual_seed(0))
        assert not dictionary.training and not any(p.requires_grad for p in dictionary.parameters())
        left.append(float((dictionary(rows.flatten(0, 1)).reconstruction - rows.flatten(0, 1)).square().mean()))
    assert left[1] < 0.5 * left[0]
    labels = [dictionary.labels(part.flatten(0, 1)).view(5, 6) for part in (circuit.positive, circuit.negative)]
    assert score_heads(dictionary, circuit.positive, circuit.negative).count.equal(node_scores(*labels).count)


def test_planted_heads_have_the_spread_that_the_settings_say():
    circuit = planted_circuit(PlantedCircuitConfig(n_heads=10, n_circuit=3, examples=4000, effect=2.0, noise=0.3))
    assert circuit.positive.shape == (4000, 10, 16) and int(circuit.members.sum()) == 3
    spread = circuit.positive.std(dim=0).mean(dim=1)
    assert spread[circuit.members].tolist() == pytest.approx([0.3 * 5**0.5] * 3, rel=0.02)
    assert spread[~circuit.members].tolist() == pytest.approx([0.3] * 7, rel=0.02)
    assert circuit.negative.std(dim=0).mean(dim=1).tolist() == pytest.approx([0.3] * 10, rel=0.02)
    assert float((circuit.positive.mean(dim=0) - circuit.negative.mean(dim=0)).abs().max()) < 0.08
    again, other = planted_circuit(SMALL), planted_circuit(SMALL.model_copy(update={"seed": 1}))
    assert again.positive.equal(planted_circuit(SMALL).positive) and not again.positive.equal(other.positive)


def test_bad_requests_are_refused():
    rows = planted_circuit(SMALL).positive
    with pytest.raises(ConfigError, match="n_circuit is 50, but there are n_heads = 40"):
        build(PlantedCircuitConfig, {"n_circuit": 50})
    with pytest.raises(DataError, match=r"codes are \[3, 2\] for positive and \[0, 2\] for negative"):
        node_scores(torch.zeros(3, 2, dtype=torch.int64), torch.zeros(0, 2, dtype=torch.int64))
    with pytest.raises(DataError, match="6 of 6 scores are of members"):
        area_under_curve(torch.zeros(6), torch.ones(6, dtype=torch.bool))
    with pytest.raises(DataError, match=r"wanted \[examples, heads, width\]"):
        fit_discrete(rows[:0])
    with pytest.raises(NumericsError, match="not finite"):
        fit_discrete(rows / 0)
    with pytest.raises(ConfigError, match="steps is 0"):
        fit_discrete(rows, steps=0)
