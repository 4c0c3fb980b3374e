"""Group bias adaptation in setup S: a quarter of the steps with biases that move as far, and the whole schedule as evidence."""

from __future__ import annotations

import json

import pytest
import torch
from tests.claims.conftest import ADAPTED, in_a_process

from pellucid.data import PlantedData
from pellucid.dictionaries import GbaConfig, make_dictionary


@pytest.fixture(scope="module")
def adapted(tmp_path_factory):
    """Scores by name, trained in a process of their own."""
    scores = tmp_path_factory.mktemp("adapted") / "scores.json"
    in_a_process(ADAPTED, scores, 1500, "f often", "0.5 often")
    return json.loads(scores.read_text())


def test_dictionaries_10_1_latents_come_down_to_their_target_and_live(adapted):
    assert max(adapted["f often"]["over_target"]) <= 1.2
    assert adapted["f often"]["alive"] > 0.95


def test_dictionaries_10_2_the_right_frequency_recovers_more_than_a_high_one(adapted):
    assert adapted["f often"]["mcs"] > adapted["0.5 often"]["mcs"] + 0.2
    assert adapted["0.5 often"]["frr"] < 0.05


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """Scores by name after 6,000 steps: the true frequency, a quarter and four times of it, a half, groups of all."""
    scores = tmp_path_factory.mktemp("whole") / "scores.json"
    in_a_process(ADAPTED, scores, 6000, "f", "f/4", "4f", "0.5", "groups")
    return json.loads(scores.read_text())


@pytest.mark.evidence
def test_dictionaries_10_2_the_whole_schedule(whole, record_evidence):
    found = {name: {key: row[key] for key in ("frr", "mcs", "alive")} for name, row in whole.items()}
    record_evidence("bias_adaptation", **{name.replace("/", " over "): row for name, row in found.items()})
    wanted = {"f": 0.97, "4f": 0.05, "0.5": 0.00}
    assert {name: found[name]["frr"] for name in wanted} == pytest.approx(wanted, abs=0.08)
    assert found["groups"]["frr"] < found["f"]["frr"], "one frequency for all features suits one group better"


@pytest.mark.evidence
@pytest.mark.xfail(strict=True, reason="FRR 0.34 and mean best cosine 0.87 at f/4 after 6,000 steps, 1.00 in the sheet")
def test_dictionaries_10_2_a_quarter_of_the_frequency_is_tolerated(whole):
    assert whole["f/4"]["frr"] == pytest.approx(1.0, abs=0.08)


def test_dictionaries_10_3_biases_follow_no_gradient():
    x = PlantedData().train_batch(0, 512).inputs
    dictionary = make_dictionary(GbaConfig(n_latents=64, n_groups=1), 32, torch.Generator().manual_seed(0), x)
    assert "encoder_bias" not in dict(dictionary.named_parameters()) and not dictionary.encoder_bias.requires_grad
    with torch.no_grad():
        dictionary.encoder_bias.fill_(-0.3)
    before = dictionary.encoder_bias.clone()
    optimizer = torch.optim.Adam(dictionary.parameters(), lr=1e-2)
    for _ in range(49):  # one short of an adaptation
        (dictionary(x).reconstruction - x).square().mean().backward()
        dictionary.before_step()
        optimizer.step()
        dictionary.after_step()
    assert torch.equal(dictionary.encoder_bias, before) and dictionary.encoder_bias.grad is None
    dictionary(x)
    dictionary.after_step()
    assert not torch.equal(dictionary.encoder_bias, before), "the fiftieth update adapts"
