"""TopK, gradient dictionaries and transcoders on a small language model: python walker_toy.py SCORES.json [BETA ...]."""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path

import torch
from torch.nn.functional import cross_entropy

from pellucid.core.config import build
from pellucid.data import Batch, TensorData
from pellucid.evaluation import evaluate, load_run
from pellucid.evaluation.run import run_targets
from pellucid.hosts import Host
from pellucid.training import FitConfig, fit

VOCABULARY, CONTEXT, ROWS = 24, 16, 32
LM_STEPS, STEPS, SITE = 300, 300, "layers.0"
MLP = {"site": "layers.0.mlp.input", "target": "layers.0.mlp"}
TRANSCODED = (1, 4, 16)
"""Active latents of the transcoders."""


class Chain(TensorData):
    """Rows of a random walk over tokens in which the last two decide the next, which is the label."""

    def __init__(self, rows: int = 12_000) -> None:
        generator = torch.Generator().manual_seed(0)
        table = torch.randn(VOCABULARY, VOCABULARY, VOCABULARY, generator=generator)
        both = torch.randn(2, VOCABULARY, VOCABULARY, generator=generator).mul(2)
        table = (0.5 * table + both[0][:, None] + both[1][None]).softmax(dim=-1)
        ids = torch.randint(0, VOCABULARY, (rows, CONTEXT), generator=generator)
        for i in range(2, CONTEXT):
            ids[:, i] = torch.multinomial(table[ids[:, i - 2], ids[:, i - 1]], 1, generator=generator).squeeze(1)
        super().__init__({"input_ids": ids}, held_out=0.05)

    def _batch(self, rows: torch.Tensor) -> Batch:
        found = super()._batch(rows)
        ids = found.inputs["input_ids"]
        return Batch(found.inputs, None, torch.cat([ids[:, 1:], torch.full_like(ids[:, :1], -100)], dim=1))


def small_lm(data: Chain) -> Host:
    """Train a two-block Llama of width 32 on the walk."""
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    config = LlamaConfig(
        hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=2, num_key_value_heads=2,
        vocab_size=VOCABULARY, max_position_embeddings=CONTEXT, use_cache=False,
    )  # fmt: skip
    model = LlamaForCausalLM(config)
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    for step in range(LM_STEPS):
        batch = data.train_batch(step, ROWS)
        loss = cross_entropy(model(**batch.inputs).logits.flatten(0, 1), batch.labels.flatten(), ignore_index=-100)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return Host(model, name="walker")


def scored(betas: list[float]) -> dict[str, dict]:
    """Train TopK, a gradient dictionary for each beta and transcoders in one pass; return their scores."""
    data = Chain()
    host = small_lm(data)
    kinds = {"topk": {"kind": "topk"}, **{f"beta {beta:g}": {"kind": "gradient", "beta": beta} for beta in betas}}
    entries = {
        name: {"site": SITE, "architecture": {**kind, "n_latents": 64, "k": 3}, "lr": 3e-3} for name, kind in kinds.items()
    }
    for k in TRANSCODED:
        entries[f"transcoder {k}"] = {**MLP, "architecture": {"kind": "transcoder", "n_latents": 64, "k": k}, "lr": 3e-3}
    values = {"dictionaries": entries, "tokens": STEPS * ROWS * CONTEXT, "batch_rows": ROWS, "sample_rows": 64}
    values |= {"checkpoint_seconds": 1e6, "kernels": "plain", "log_every": 100, "dead_after": 50_000}
    with tempfile.TemporaryDirectory() as folder:
        run = fit(build(FitConfig, values), Path(folder) / "run", host=host, data=data)
        loaded, headers = load_run(run, host)
    scores = evaluate(host, loaded, data, targets=run_targets(host, headers))
    keys = ("l0", "ce_original", "ce_increase", "kl", "fvu", "alive", "ce_zero_ablation")
    return {name: {key: scores[name][key] for key in keys} for name in entries}


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(json.dumps(scored([float(beta) for beta in sys.argv[2:]] or [1.0]), indent=2))
