"""Transcoders; `walker` holds scores of some on a small language model."""

from __future__ import annotations

from functools import cache

import pytest
import torch

from pellucid.data import TextConfig
from pellucid.dictionaries import Dictionary, SkipTranscoderConfig, TranscoderConfig, make_dictionary
from pellucid.evaluation.reconstruction import Reconstruction

WIDE, OUT, LATENTS = 12, 9, 32


def pairs(n: int, seed: int, curved: bool) -> tuple[torch.Tensor, torch.Tensor]:
    """Vectors and a map of them, linear or that of a small gated MLP."""
    maps = torch.Generator().manual_seed(0)
    gate, up = (torch.randn(24, WIDE, generator=maps) / WIDE**0.5 for _ in range(2))
    down, linear = torch.randn(OUT, 24, generator=maps) / 5, torch.randn(OUT, WIDE, generator=maps) / 3
    x = torch.randn(n, WIDE, generator=torch.Generator().manual_seed(seed))
    y = torch.nn.functional.silu(x @ gate.T) * (x @ up.T) @ down.T if curved else x @ linear.T + 1
    return x, y


@cache
def trained(skip: bool, curved: bool, steps: int = 600, **settings) -> tuple[Dictionary, float, float]:
    """Train on fresh rows; return the transcoder, its FVU and L0 on others."""
    kind = SkipTranscoderConfig if skip else TranscoderConfig
    x, y = pairs(512, 1, curved)
    made = make_dictionary(kind(n_latents=LATENTS, **settings), WIDE, torch.Generator().manual_seed(0), x, target=y)
    optimizer = torch.optim.Adam(made.parameters(), lr=1e-2)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    nobody = torch.zeros(LATENTS, dtype=torch.bool)
    for step in range(steps):
        x, y = pairs(128, step + 2, curved)
        forward = made(x)
        forward.target = y
        loss = (forward.reconstruction - y).square().mean() + sum(made.penalty(forward, x, nobody).values())
        optimizer.zero_grad()
        loss.backward()
        made.before_step()
        optimizer.step()
        schedule.step()
        made.after_step()
    x, y = pairs(2000, 0, curved)
    with torch.no_grad():
        forward = made(x)
    sums = Reconstruction(OUT)
    sums.update(y, forward.reconstruction)
    return made, sums.fvu, float((forward.codes > 0).sum(dim=1).double().mean())


def test_dictionaries_16_1_a_linear_target_needs_the_skip_alone():
    _, fvu, l0 = trained(skip=True, curved=False, l1=3.0)
    assert fvu < 1e-3 and l0 < 0.05


def test_dictionaries_16_2_the_skip_lowers_fvu_at_equal_k():
    plain, skipped = trained(skip=False, curved=True, k=3), trained(skip=True, curved=True, k=3)
    assert skipped[1] <= plain[1] < 1


def test_dictionaries_16_3_more_latents_lower_the_loss_of_the_splice(walker):
    found = [walker[f"transcoder {k}"] for k in (1, 4, 16)]
    increases = [each["ce_increase"] for each in found]
    l0s = [each["l0"] for each in found]
    assert l0s == sorted(l0s) and all(l0 <= k for l0, k in zip(l0s, (1, 4, 16), strict=True)), (
        "of the k kept some are not positive"
    )
    assert l0s[1] > 2 * l0s[0] and l0s[2] > 2 * l0s[1]
    assert increases[0] > increases[1] > increases[2]
    zero = found[0]["ce_zero_ablation"] - found[0]["ce_original"]
    assert increases[0] < zero, "the layer's value at zero is the worst splice"


@pytest.mark.evidence
def test_dictionaries_16_3_on_smollm2(tmp_path, record_evidence):
    from pellucid import job
    from pellucid.core.config import build
    from pellucid.training import FitConfig

    place, size = {"site": "layers.14.mlp.input", "target": "layers.14.mlp"}, 2304
    entries = {
        str(k): {**place, "architecture": {"kind": "transcoder", "n_latents": size, "k": k}, "lr": 1e-3} for k in (8, 32, 128)
    }
    config = build(FitConfig, {"data": TextConfig(), "dictionaries": entries, "tokens": 200_000})
    summary = job.fit(config, tmp_path / "run")
    scores = {row["name"]: row for row in summary["dictionaries"]}
    increases = [scores[k]["ce_increase"] for k in entries]
    record_evidence("transcoders_smollm2", scores={k: {n: scores[k][n] for n in ("l0", "ce_increase", "fvu")} for k in entries})
    assert increases[0] > increases[1] > increases[2]
    assert all(scores[k]["ce_recovered_vs_zero"] > 0 for k in entries)


def test_dictionaries_16_4_the_input_of_a_llama_mlp_is_the_rmsnorms_output(llama_host, token_inputs):
    source, seen = llama_host.site("layers.2.mlp.input"), []
    norm = llama_host.module.model.layers[2].post_attention_layernorm
    hook = norm.register_forward_hook(lambda module, args, output: seen.append(output.clone()))
    with torch.no_grad():
        value = llama_host.run(token_inputs, capture=[source]).values[source]
    hook.remove()
    assert torch.equal(value, seen[0])
    scale = (value / norm.weight.detach()).square().mean(dim=-1).sqrt()
    assert float(scale.min()) > 0 and float(scale.max()) <= 1.001, "of unit root mean square, less for the norm's epsilon"
