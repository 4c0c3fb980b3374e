"""BatchTopK dictionaries; `planted` holds trained ones of setup S."""

from __future__ import annotations

import pytest
import torch

from pellucid.data import PlantedData
from pellucid.dictionaries import BatchTopKConfig, make_dictionary


@pytest.mark.parametrize("k", [1, 3, 10])
def test_dictionaries_04_1_a_training_batch_has_k_a_token_and_tokens_differ(k):
    x = PlantedData().train_batch(0, 512).inputs
    dictionary = make_dictionary(BatchTopKConfig(n_latents=64, k=k), 32, torch.Generator().manual_seed(0), x)
    counts = (dictionary(x).codes > 0).sum(dim=1).double()
    assert counts.mean() == k and counts.std() > 0


def test_dictionaries_04_2_the_threshold_keeps_k_a_token_on_held_out_rows(planted):
    assert planted["batch_topk 3"]["l0"] == pytest.approx(3, rel=0.05)


def test_dictionaries_04_3_less_is_left_unexplained_than_by_topk(planted):
    assert planted["batch_topk 3"]["fvu"] < 0.85 * planted["topk 3 alone"]["fvu"]
    assert planted["topk 3 alone"]["fvu"] == pytest.approx(0.197, rel=0.15)


def test_dictionaries_04_3_fvu_of_batch_topk(planted):
    assert planted["batch_topk 3"]["fvu"] == pytest.approx(0.153, rel=0.15)
