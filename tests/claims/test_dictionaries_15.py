"""Discrete dictionaries: integer codes, and heads of a planted circuit found by them."""

from __future__ import annotations

import pytest
import torch

from pellucid.circuits import area_under_curve, fit_discrete, score_heads
from pellucid.data import PlantedCircuitConfig, planted_circuit
from pellucid.dictionaries import DiscreteConfig

SEEDS = range(5)


def fitted(circuit, seed: int):
    """A dictionary trained on all examples of the circuit."""
    rows = torch.cat([circuit.positive, circuit.negative])
    return fit_discrete(rows, DiscreteConfig(n_latents=100), generator=torch.Generator().manual_seed(seed))


@pytest.fixture(scope="module")
def found():
    """(circuit, dictionary) for five seeds, at the effect size of the sheet: 2 standard deviations of the noise."""
    circuits = [planted_circuit(PlantedCircuitConfig(seed=seed)) for seed in SEEDS]
    return [(circuit, fitted(circuit, seed)) for seed, circuit in zip(SEEDS, circuits, strict=True)]


def mean_areas(found, *, shuffled: bool) -> tuple[float, float]:
    """Mean area of the counts and of the shares over circuits; labels of examples drawn anew for each head if shuffled."""
    generator, areas = torch.Generator().manual_seed(7), []
    for circuit, dictionary in found:
        for _ in range(10 if shuffled else 1):
            positive, negative = circuit.positive, circuit.negative
            if shuffled:  # a head's examples are dealt out to the classes at random
                both = torch.cat([positive, negative])
                order = torch.rand(both.shape[:2], generator=generator).argsort(dim=0)
                both = both.gather(0, order.unsqueeze(-1).expand_as(both))
                positive, negative = both[: len(positive)], both[len(positive) :]
            scores = score_heads(dictionary, positive, negative)
            areas.append([area_under_curve(each, circuit.members) for each in (scores.count, scores.share)])
    count, share = torch.tensor(areas).mean(dim=0).tolist()
    return count, share


def test_dictionaries_15_1_codes_are_integers_that_the_weights_decide(found):
    circuit, dictionary = found[0]
    rows = circuit.positive.flatten(0, 1)
    labels = dictionary.labels(rows)
    assert labels.dtype == torch.int64 and int(labels.min()) >= 0 and int(labels.max()) < 100
    assert torch.equal(labels, dictionary.labels(rows)) and len(labels.unique()) > 10
    assert torch.equal(labels[:7], dictionary.labels(rows[:7])), "a code depends on its own activation alone"
    again = fitted(circuit, 0)
    assert torch.equal(again.labels(rows), labels)


def test_dictionaries_15_2_the_order_of_latents_does_not_matter(found):
    circuit, dictionary = found[1]
    before = score_heads(dictionary, circuit.positive, circuit.negative)
    order = torch.randperm(100, generator=torch.Generator().manual_seed(0))
    shuffled = fitted(circuit, 1)
    with torch.no_grad():
        for parameter in (shuffled.encoder, shuffled.encoder_bias, shuffled.decoder):
            parameter.copy_(parameter[order])
    rows = circuit.positive.flatten(0, 1)
    assert not torch.equal(shuffled.labels(rows), dictionary.labels(rows))
    after = score_heads(shuffled, circuit.positive, circuit.negative)
    assert torch.equal(after.count, before.count) and torch.equal(after.share, before.share)


def test_dictionaries_15_3_heads_with_a_constant_output_score_0(found):
    circuit, dictionary = found[2]
    positive, negative = circuit.positive.clone(), circuit.negative.clone()
    constant = (~circuit.members).nonzero().flatten()[:5]
    for part in (positive, negative):
        part[:, constant] = circuit.positive[:1, constant]
    scores = score_heads(dictionary, positive, negative)
    assert scores.count[constant].tolist() == [0] * 5 and scores.share[constant].tolist() == [0.0] * 5
    labels = dictionary.labels(torch.cat([positive, negative])[:, constant].flatten(0, 1)).view(-1, 5)
    assert all(len(column.unique()) == 1 for column in labels.T)
    assert int(scores.count.max()) > 0


def test_dictionaries_15_4_a_planted_circuit_is_found_above_chance(found):
    count, share = mean_areas(found, shuffled=False)
    assert count > 0.65 and share > 0.65
    assert 0.69 <= count <= 0.83 and 0.71 <= share <= 0.82


def test_dictionaries_15_4_shuffled_labels_of_heads_give_chance(found):
    generator, areas = torch.Generator().manual_seed(8), []
    for circuit, dictionary in found:
        scores = score_heads(dictionary, circuit.positive, circuit.negative)
        orders = [torch.randperm(len(circuit.members), generator=generator) for _ in range(200)]
        areas += [area_under_curve(scores.count, circuit.members[order]) for order in orders]
    assert sum(areas) / len(areas) == pytest.approx(0.5, abs=0.02)


@pytest.mark.xfail(
    reason="0.66 for counts and 0.63 for shares: heads that vary more have more codes in either class, so dealing out the "
    "examples to the classes anew leaves the circuit's heads ahead"
)
def test_dictionaries_15_4_shuffled_labels_of_examples_give_chance(found):
    count, share = mean_areas(found, shuffled=True)
    assert count == pytest.approx(0.5, abs=0.05) and share == pytest.approx(0.5, abs=0.05)
