"""Scores against naive recounts, and promise 3: batch size, order and scale change no number."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from pellucid.core.errors import HostMismatchWarning
from pellucid.data import Batch, TensorData
from pellucid.dictionaries import Dictionary, Forward, ReluConfig, TopKConfig, make_dictionary
from pellucid.evaluation import evaluate
from pellucid.evaluation.evaluate import check_host, histogram
from pellucid.evaluation.fidelity import recovered
from pellucid.evaluation.reconstruction import Reconstruction


class Tokens(TensorData):
    """Random token rows with their next tokens; the first position is left out."""

    def __init__(self, rows: int = 40, context: int = 12, vocabulary: int = 97) -> None:
        ids = torch.randint(0, vocabulary, (rows, context), generator=torch.Generator().manual_seed(3))
        super().__init__(ids, held_out=0.25, seed=0, positions_per_row=context)

    def held_out_rows(self, indices):
        return self._as_tokens(super().held_out_rows(indices))

    def train_rows(self, indices):
        return self._as_tokens(super().train_rows(indices))

    def _as_tokens(self, batch: Batch) -> Batch:
        ids = batch.inputs
        labels = torch.full_like(ids, -100)
        labels[:, :-1] = ids[:, 1:]
        keep = torch.ones_like(ids, dtype=torch.bool)
        keep[:, 0] = False
        return Batch({"input_ids": ids}, keep, labels)


class Identity(Dictionary):
    """A dictionary that gives back what it gets; its codes are the rows' positive parts."""

    kind = "identity"

    def __init__(self) -> None:
        super().__init__(ReluConfig(n_latents=32), 32)

    def forward(self, x):
        return Forward(pre=x, reconstruction=x.clone(), dense=x.relu())


@pytest.fixture
def tokens():
    return Tokens()


@pytest.fixture
def dictionary(llama_host, tokens):
    site = llama_host.site("layers.1")
    rows = llama_host.run(tokens.train_batch(0, 8).inputs, capture=[site], stop=True).values[site].reshape(-1, 32)
    return make_dictionary(TopKConfig(n_latents=48, k=4), 32, torch.Generator().manual_seed(0), rows)


def test_identity_loses_nothing(llama_host, tokens):
    scores = evaluate(llama_host, {"id": (Identity(), llama_host.site("layers.1"))}, tokens)["id"]
    assert abs(scores["kl"]) < 1e-6 and abs(scores["ce_increase"]) < 1e-5
    assert scores["fvu"] == 0 and scores["mse"] == 0 and scores["top1_agreement"] == 1
    assert all(value == 0 for value in scores["downstream_mse"].values())
    assert scores["ce_recovered_vs_zero"] == pytest.approx(1) and scores["ce_recovered_vs_mean"] == pytest.approx(1)
    assert scores["norm_ratio"] == pytest.approx(1) and scores["explained_variance"] == pytest.approx(1)


def test_scores_equal_a_naive_recount(llama_host, tokens, dictionary):
    site, last = llama_host.site("layers.1"), llama_host.site("layers.3")
    scores = evaluate(llama_host, {"d": (dictionary, site)}, tokens)["d"]
    batch = tokens.held_out_rows(torch.arange(tokens.n_held_out))
    module, keep = llama_host.module.eval(), batch.keep
    seen: dict[str, torch.Tensor] = {}

    def hook(_, __, output):
        seen["x"] = output[keep]
        seen["f"] = dictionary(seen["x"])
        changed = output.clone()
        changed[keep] = seen["f"].reconstruction
        return changed

    with torch.no_grad():
        plain = llama_host.run(batch.inputs, capture=[last])
        handle = module.model.layers[1].register_forward_hook(hook)
        spliced = llama_host.run(batch.inputs, capture=[last])
        handle.remove()
    x, forward = seen["x"].double(), seen["f"]
    p, q = (torch.log_softmax(run.output.logits.double(), -1) for run in (plain, spliced))
    labels = torch.where(keep, batch.labels, -100)
    ce = [nn.functional.nll_loss(logp[labels != -100], labels[labels != -100]) for logp in (p, q)]
    kl = (p.exp() * (p - q)).sum(-1)[keep].mean()
    residual = x - forward.reconstruction.double()
    assert scores["kl"] == pytest.approx(float(kl), abs=1e-6)
    assert scores["ce_original"] == pytest.approx(float(ce[0]), abs=1e-5)
    assert scores["ce_increase"] == pytest.approx(float(ce[1] - ce[0]), abs=1e-5)
    assert scores["top1_agreement"] == pytest.approx(float((p.argmax(-1) == q.argmax(-1))[keep].double().mean()))
    assert scores["l0"] == pytest.approx(float((forward.codes > 0).sum(-1).double().mean()))
    assert scores["alive"] == int((forward.codes > 0).any(0).sum()) and scores["alive_tokens"] == int(keep.sum())
    assert scores["fvu"] == pytest.approx(float(residual.square().sum() / (x - x.mean(0)).square().sum()), rel=1e-9)
    assert scores["mse"] == pytest.approx(float(residual.square().mean()), rel=1e-9)
    explained = 1 - residual.var(0, unbiased=False) / x.var(0, unbiased=False)
    assert scores["explained_variance"] == pytest.approx(float(explained.mean()), rel=1e-9)
    later = (plain.values[last] - spliced.values[last])[keep].double().square().mean()
    assert scores["downstream_mse"]["layers.3"] == pytest.approx(float(later), rel=1e-5)
    assert sum(scores["density"]["counts"]) + scores["density"]["never"] == 48


def test_promise_3_batch_size_changes_no_number(llama_host, tokens, dictionary):
    # In float64, so that what is left is the definition: a ratio of two tiny increases magnifies float32 rounding.
    llama_host.module.double()
    dictionary.double()
    site = llama_host.site("layers.1")
    one, three = (evaluate(llama_host, {"d": (dictionary, site)}, tokens, batch_rows=size)["d"] for size in (1, 3))
    for key, value in one.items():
        if isinstance(value, float):
            assert three[key] == pytest.approx(value, rel=1e-9, abs=1e-12), key
    assert one["l0"] == three["l0"] and one["alive"] == three["alive"] and one["density"] == three["density"]


def test_promise_3_positive_rescaling_and_order_change_no_ratio():
    generator = torch.Generator().manual_seed(0)
    x, noise = (torch.randn(500, 16, generator=generator) for _ in range(2))
    x_hat = x + 0.3 * noise
    order = torch.randperm(500, generator=generator)
    plain, other = Reconstruction(16), Reconstruction(16)
    plain.update(x, x_hat)
    for part in order.split(77):
        other.update(1e4 * x[part], 1e4 * x_hat[part])
    for name in ("fvu", "explained_variance", "norm_ratio", "gamma"):
        assert getattr(other, name) == pytest.approx(getattr(plain, name), rel=1e-6)
    assert other.mse == pytest.approx(1e8 * plain.mse, rel=1e-6)


def test_a_large_mean_costs_no_digits():
    x = torch.randn(1000, 8, generator=torch.Generator().manual_seed(0)).double()
    shifted = Reconstruction(8)
    shifted.update(x + 1e6, x + 1e6 + 0.1)
    centred = (x + 1e6) - (x + 1e6).mean(0)
    assert shifted.fvu == pytest.approx(float(8 * 1000 * 0.01 / centred.square().sum()), rel=1e-6)
    assert shifted.explained_variance == pytest.approx(1, abs=1e-9)


def test_recovered_is_one_for_perfect_zero_for_the_ablation_and_none_if_undefined():
    assert recovered(0.0, 2.0) == 1 and recovered(2.0, 2.0) == 0
    assert recovered(None, 2.0) is None and recovered(1.0, 0.0) is None


def test_another_host_is_warned_of_by_name(llama_host):
    site = llama_host.site("layers.1")
    header = {"name": "mine", "host": {"name": "gpt9", "weights_sha256": "0" * 64}}
    with pytest.warns(HostMismatchWarning, match="'mine' was trained on host 'gpt9'.*site 'layers.1'"):
        check_host(llama_host, header, site)
    check_host(llama_host, {**header, "host": {"name": "llama", "weights_sha256": llama_host.weights_digest(site)}}, site)


def test_a_classifier_is_scored_by_its_labels(cnn_host):
    host, _ = cnn_host
    x = torch.randn(40, 3, 6, 6, generator=torch.Generator().manual_seed(0))
    data = TensorData(x, labels=torch.arange(40) % 5, held_out=0.25, seed=0, positions_per_row=36)
    site = host.site("stem")
    dictionary = make_dictionary(ReluConfig(n_latents=16), 8, torch.Generator().manual_seed(0))
    scores = evaluate(host, {"d": (dictionary, site)}, data)["d"]
    assert scores["alive_tokens"] == 10 * 36 and scores["tokens"] == 10
    assert math.isfinite(scores["ce_increase"]) and scores["ce_increase"] != 0


def test_histogram_counts_every_latent_once(dictionary):
    from pellucid.dictionaries import FiringCounter

    counter = FiringCounter(48)
    codes = torch.zeros(100, 48)
    codes[0, :10] = 1.0
    codes[:, 10] = 1.0
    counter.update(codes)
    found = histogram(counter)
    assert found["never"] == 37 and sum(found["counts"]) == 11
    assert found["counts"][-1] == 1
    edges = torch.tensor(found["log10_edges"])
    assert_close(edges, torch.arange(-6.0, 0.01, 0.25))
