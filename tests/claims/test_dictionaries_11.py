"""Matching-pursuit dictionaries; `tree` holds dictionaries of a planted tree, trained for a fifth of its schedule."""

from __future__ import annotations

import json

import pytest
import torch
from tests.claims.conftest import TREE, in_a_process
from tests.claims.tree_toy import WHOLE

from pellucid.data import PlantedTreeData
from pellucid.dictionaries import MatchingPursuitConfig, MatchingPursuitDictionary, make_dictionary


def mean(values: list[float]) -> float:
    return sum(values) / len(values)


@pytest.mark.parametrize("steps", [1, 3, 8])
def test_dictionaries_11_1_the_last_atom_is_spent_and_no_residual_grows(steps):
    x = PlantedTreeData().train_batch(0, 300).inputs.double()
    config = MatchingPursuitConfig(n_latents=50, pursuit_steps=steps)
    dictionary = make_dictionary(config, 20, torch.Generator().manual_seed(0), x.float()).double().requires_grad_(False)
    assert isinstance(dictionary, MatchingPursuitDictionary)
    left = [dictionary.pursue(x, depth)[1] for depth in range(steps + 1)]
    chosen = (left[-2] @ dictionary.atoms().T).max(dim=1)
    taken = chosen.values > 0
    spent = (left[-1] * dictionary.atoms()[chosen.indices]).sum(dim=1)
    assert float(spent[taken].abs().max()) < 1e-6 and int(taken.sum()) > 250
    assert float(spent.max()) < 1e-6, "where nothing was left to take the product is negative"
    norms = torch.stack([residual.norm(dim=1) for residual in left])
    assert bool((norms.diff(dim=0) <= 1e-12).all()) and bool((norms[-1] < norms[0])[taken].all())


def test_dictionaries_11_2_relu_children_hold_their_parent(tree):
    assert mean(tree["relu"]["with_parent"]) == pytest.approx(0.60, abs=0.06)


def test_dictionaries_11_2_pursued_children_do_not(tree):
    assert max(abs(cosine) for cosine in tree["pursuit 6"]["with_parent"]) < 0.05
    assert tree["pursuit 6"]["mcs"] > 0.99


def test_dictionaries_11_3_what_is_left_after_each_atom(tree):
    assert tree["pursuit 4 partly"]["left"] == pytest.approx([0.30, 0.08, 0.02, 0.004], rel=0.25)
    assert tree["pursuit 4 partly"]["mcs"] == pytest.approx(0.91, abs=0.02)


@pytest.mark.evidence
def test_dictionaries_11_2_the_whole_schedule(tmp_path, record_evidence):
    """15,000 steps, three seeds, siblings at three cosines: pursuits of six atoms recover the tree, those of four absorb."""
    scores = tmp_path / "scores.json"
    in_a_process(TREE, scores, 15_000, *WHOLE)
    found = json.loads(scores.read_text())
    record_evidence("planted_tree", **{name: {"mcs": row["mcs"], "frr": row["frr"]} for name, row in found.items()})
    for seed in range(3):
        orthogonal = found[f"pursuit 6 cosine 0.0 seed {seed}"]
        assert orthogonal["mcs"] > 0.99 and max(abs(cosine) for cosine in orthogonal["with_parent"]) < 0.05
        assert found[f"pursuit 6 cosine 0.3 seed {seed}"]["mcs"] > 0.95
        assert found[f"pursuit 4 seed {seed}"]["mcs"] < 0.99
