"""Gradient dictionaries (g-SAE)."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy

from pellucid.core.config import build
from pellucid.data import Batch, TensorData
from pellucid.dictionaries import GradientConfig, TopKConfig, load_dictionary, make_dictionary
from pellucid.evaluation import evaluate
from pellucid.hosts import Host
from pellucid.training import FitConfig, fit


class Readout(nn.Module):
    """y = 100 x_a + 0.01 x_b read as two classes, y and 0."""

    def __init__(self) -> None:
        super().__init__()
        self.values = nn.Identity()
        self.out = nn.Linear(2, 2, bias=False)
        self.out.weight.data = torch.tensor([[100.0, 0.01], [0.0, 0.0]])

    def forward(self, x):
        return self.out(self.values(x))


class Chain(TensorData):
    """Rows of a random walk over tokens with two tokens of memory, and the next token as label."""

    def __init__(self, rows: int = 800, context: int = 16, vocabulary: int = 24) -> None:
        generator = torch.Generator().manual_seed(0)
        table = torch.randn(vocabulary, vocabulary, vocabulary, generator=generator).mul(2).softmax(dim=-1)
        ids = torch.randint(0, vocabulary, (rows, context), generator=generator)
        for i in range(2, context):
            ids[:, i] = torch.multinomial(table[ids[:, i - 2], ids[:, i - 1]], 1, generator=generator).squeeze(1)
        super().__init__({"input_ids": ids}, held_out=0.25)

    def _batch(self, rows):
        found = super()._batch(rows)
        ids = found.inputs["input_ids"]
        return Batch(found.inputs, None, torch.cat([ids[:, 1:], torch.full_like(ids[:, :1], -100)], dim=1))


def small_lm(data: Chain, steps: int = 400) -> Host:
    """Train a two-block Llama of width 32 on the walk."""
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    config = LlamaConfig(
        hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=2, num_key_value_heads=2,
        vocab_size=24, max_position_embeddings=16, use_cache=False,
    )  # fmt: skip
    model = LlamaForCausalLM(config)
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    for step in range(steps):
        batch = data.train_batch(step, 32)
        loss = cross_entropy(model(**batch.inputs).logits.flatten(0, 1), batch.labels.flatten(), ignore_index=-100)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return Host(model, name="walker")


@pytest.fixture(scope="module")
def scores(tmp_path_factory):
    """Scores of both on the small language model: the same k, seed and tokens."""
    data = Chain()
    host = small_lm(data)
    kinds = {
        "topk": {"kind": "topk"},
        "gradient": {"kind": "gradient", "beta": 3.0},
        "beta 0": {"kind": "gradient", "beta": 0.0},
    }
    entries = {
        name: {"site": "layers.0", "architecture": {**kind, "n_latents": 64, "k": 4}, "lr": 3e-3}
        for name, kind in kinds.items()
    }
    config = build(
        FitConfig,
        {"dictionaries": entries, "tokens": 400 * 16 * 16, "batch_rows": 16, "sample_rows": 64, "checkpoint_seconds": 1e6,
         "dead_after": 20_000, "kernels": "plain", "log_every": 100},
    )  # fmt: skip
    run = fit(config, tmp_path_factory.mktemp("g") / "run", host=host, data=data)
    loaded = {name: load_dictionary(run / "dictionaries" / name)[0] for name in entries}
    site = host.site("layers.0")
    return evaluate(host, {name: (each, site) for name, each in loaded.items()}, data), loaded


def test_dictionaries_08_1_beta_0_is_topk_bit_for_bit(scores):
    _, loaded = scores
    same, other = loaded["beta 0"].state_dict(), loaded["gradient"].state_dict()
    assert all(torch.equal(value, same[key]) for key, value in loaded["topk"].state_dict().items())
    assert not torch.equal(other["encoder"], same["encoder"])


@pytest.mark.parametrize(("kind", "chosen"), [("gradient", 0), ("topk", 1)])
def test_dictionaries_08_2_the_gradient_chooses_what_matters(kind, chosen):
    host, x = Host(Readout(), name="readout"), torch.tensor([[0.02, 0.021], [0.01, 0.02], [0.03, 0.05]])
    settings = {"n_latents": 2, "k": 1, "bias_init": "zeros"}
    dictionary = make_dictionary(GradientConfig(**settings) if kind == "gradient" else TopKConfig(**settings), 2)
    with torch.no_grad():
        for rows in (dictionary.encoder, dictionary.decoder):
            rows.copy_(torch.eye(2))
    leaf = x.clone().requires_grad_()
    loss = cross_entropy(host.module.out(leaf), torch.ones(3, dtype=torch.int64), reduction="sum")
    dictionary.guide(torch.autograd.grad(loss, leaf)[0])
    assert (dictionary(x).codes.argmax(dim=1) == chosen).all()


def test_dictionaries_08_3_lower_loss_at_equal_l0(scores):
    found, _ = scores
    assert found["gradient"]["l0"] == pytest.approx(found["topk"]["l0"], abs=0.1)
    assert found["gradient"]["ce_increase"] < found["topk"]["ce_increase"], found
