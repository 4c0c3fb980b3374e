"""Training and inference mode: who sets which, and that evaluation never sees a batch's neighbours."""

from __future__ import annotations

import pytest
import torch
from torch.testing import assert_close

from pellucid.core.config import build
from pellucid.data import TensorData
from pellucid.dictionaries import (
    BatchTopKConfig,
    FiringCounter,
    inference,
    load_dictionary,
    make_dictionary,
    save_dictionary,
)
from pellucid.evaluation import evaluate
from pellucid.features import count_firings
from pellucid.training import FitConfig
from pellucid.training.trainer import Trainer

HEADER = {"site": "layers.1", "objective": {"kind": "local"}, "host": {"name": "tiny", "weights_sha256": "0" * 64}, "tokens": 1}


def trained(d: int = 32):
    x = torch.randn(64, d, generator=torch.Generator().manual_seed(0))
    dictionary = make_dictionary(BatchTopKConfig(n_latents=48, k=4), d, torch.Generator().manual_seed(0), x)
    dictionary(x)
    return dictionary


def tokens(rows: int = 20, context: int = 12) -> TensorData:
    ids = torch.randint(0, 97, (rows, context), generator=torch.Generator().manual_seed(3))
    return TensorData({"input_ids": ids}, held_out=0.5)


def test_made_in_training_mode_loaded_in_inference_mode(tmp_path):
    dictionary = trained()
    assert dictionary.training
    save_dictionary(tmp_path / "sae", dictionary, HEADER)
    loaded, _ = load_dictionary(tmp_path / "sae")
    assert not loaded.training
    x = torch.randn(5, 32)
    assert torch.equal(loaded(x).codes, dictionary.eval()(x).codes)


def test_inference_restores_each_mode_also_after_an_exception():
    one, two = trained(), trained().eval()
    with pytest.raises(ZeroDivisionError), inference([one, two]):
        assert not one.training and not two.training
        raise ZeroDivisionError
    assert one.training and not two.training


def test_the_trainer_trains_a_loaded_dictionary_in_training_mode(tmp_path, llama_host):
    dictionary = trained()
    save_dictionary(tmp_path / "sae", dictionary, HEADER)
    architecture = dictionary.config.model_dump(mode="json")
    settings = {"site": "layers.1", "architecture": architecture}
    dictionaries = {"new": settings, "warm": {**settings, "init_from": str(tmp_path / "sae")}}
    config = build(FitConfig, {"dictionaries": dictionaries, "tokens": 48, "batch_rows": 2, "sample_rows": 2})
    with llama_host.held():
        trainer = Trainer(config, tmp_path / "run", llama_host, tokens())
        assert all(learner.dictionary.training for learner in trainer.learners)
        trainer.train()
    warm = load_dictionary(tmp_path / "run" / "dictionaries" / "warm")[0]
    assert not torch.equal(warm.threshold, dictionary.threshold), "the threshold goes on from the warm start"
    assert warm.threshold_weight.item() == pytest.approx(1 - 0.99**3, rel=1e-5)


def test_evaluation_scores_inference_and_leaves_mode_and_threshold_alone(llama_host):
    dictionary, data, site = trained(), tokens(), llama_host.site("layers.1")
    before = dictionary.threshold.clone()
    one, five = (evaluate(llama_host, {"d": (dictionary, site)}, data, batch_rows=size)["d"] for size in (1, 5))
    assert dictionary.training and torch.equal(dictionary.threshold, before)
    for name in ("l0", "fvu", "kl", "alive", "mse"):
        assert one[name] == pytest.approx(five[name], rel=1e-5)
    counted = count_firings(llama_host, data, {"d": (dictionary, site)}, rows=None, batch_rows=3)["d"]
    assert counted.l0() == pytest.approx(one["l0"], rel=1e-6) and dictionary.training
    x = llama_host.run(data.held_out_rows(torch.arange(10)).inputs, capture=[site]).values[site].flatten(0, 1)
    by_hand = FiringCounter(48)
    with torch.no_grad():
        by_hand.update(torch.where(dictionary.preactivations(x) > before, 1.0, 0.0))
    assert_close(one["l0"], by_hand.l0(), rtol=1e-6, atol=0)
