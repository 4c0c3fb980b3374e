from __future__ import annotations

import json

import pytest
import torch
from tests.dictionaries.naive import NONE_DEAD, D, M, N, sample
from torch.testing import assert_close

from pellucid.core.config import build
from pellucid.core.errors import ConfigError, FileFormatError
from pellucid.dictionaries import (
    SkipTranscoderConfig,
    TopKConfig,
    TranscoderConfig,
    load_dictionary,
    make_dictionary,
    save_dictionary,
)

WIDE = 7
FORMS = [{"k": 3}, {"l1": 0.4}]
KINDS = [TranscoderConfig, SkipTranscoderConfig]


def target(n: int = N) -> torch.Tensor:
    return torch.randn(n, WIDE, generator=torch.Generator().manual_seed(9), dtype=torch.float64) * 2 - 0.5


def transcoder(kind, **values):
    pair = sample().float(), target().float()
    made = make_dictionary(kind(n_latents=M, **values), D, torch.Generator().manual_seed(0), pair[0], target=pair[1]).double()
    noise = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for parameter in made.parameters():
            parameter += 0.2 * torch.randn(parameter.shape, generator=noise, dtype=torch.float64)
    made.after_step()
    return made


def loss_of(made, dead=NONE_DEAD):
    forward = made(sample())
    forward.target = target()
    return (forward.reconstruction - target()).square().mean() + sum(made.penalty(forward, sample(), dead).values())


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("form", FORMS)
def test_forward_equals_naive_loop(kind, form):
    made, x = transcoder(kind, **form), sample()
    forward, total = made(x), 0.0
    for t in range(N):
        pre = [(made.encoder[i] @ x[t] + made.encoder_bias[i]).item() for i in range(M)]
        kept = sorted(range(M), key=lambda i: -pre[i])[: form.get("k", M)]
        out = made.decoder_bias.detach().clone()
        for i in kept:
            out += max(pre[i], 0.0) * made.decoder[i].detach()
            total += max(pre[i], 0.0)
        if kind is SkipTranscoderConfig:
            for o in range(WIDE):
                out[o] += sum((made.skip[o, j] * x[t, j]).item() for j in range(D))
        assert_close(forward.reconstruction[t], out, rtol=0, atol=1e-12)
        codes = torch.tensor([max(pre[i], 0.0) if i in kept else 0.0 for i in range(M)], dtype=torch.float64)
        assert_close(forward.codes[t], codes, rtol=0, atol=1e-12)
    assert_close(made.encode(x), forward.codes)
    beside = made.beside(x)
    assert_close(made.decode(forward.codes) + beside, forward.reconstruction)
    if "l1" in form:
        assert_close(made.penalty(forward, x, NONE_DEAD)["sparsity"].item(), 0.4 / WIDE * total / N)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("form", FORMS)
def test_gradients_equal_finite_differences(kind, form):
    made = transcoder(kind, **form)
    loss_of(made).backward()
    generator, step = torch.Generator().manual_seed(5), 1e-6
    for name, parameter in made.named_parameters():
        direction = torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
        before, found = parameter.detach().clone(), float((parameter.grad * direction).sum())
        ends = []
        for sign in (1, -1):
            parameter.data.copy_(before + sign * step * direction)
            ends.append(float(loss_of(made).detach()))
        parameter.data.copy_(before)
        assert found == pytest.approx((ends[0] - ends[1]) / (2 * step), rel=1e-4, abs=1e-7), name


def test_the_auxiliary_term_models_the_error_at_the_target():
    made, x, y = transcoder(TranscoderConfig, k=3, aux_k=2), sample(), target()
    forward, dead = made(x), [1, 4, 7]
    forward.target = y
    residual = y - forward.reconstruction.detach()
    error = 0.0
    for t in range(N):
        pre = {i: (made.encoder[i] @ x[t] + made.encoder_bias[i]).item() for i in dead}
        strongest = sorted(dead, key=lambda i: -pre[i])[:2]
        modelled = sum(max(pre[i], 0.0) * made.decoder[i].detach() for i in strongest)
        error += float((residual[t] - modelled).square().sum())
    variance = float((residual - residual.mean(dim=0)).square().sum())
    mask = torch.zeros(M, dtype=torch.bool)
    mask[dead] = True
    assert made.penalty(forward, x, mask)["auxiliary"].item() == pytest.approx(error / variance / 32, rel=1e-9)


def test_it_starts_at_the_mean_of_the_target_with_codes_of_its_size():
    x, y = sample(400).float(), 1e-3 * target(400).float()
    made = make_dictionary(SkipTranscoderConfig(n_latents=M, k=3), D, torch.Generator().manual_seed(0), x, target=y)
    assert_close(made.decoder_bias, y.mean(dim=0))
    assert_close(made.decoder.norm(dim=1), torch.ones(M)) and not made.skip.any()
    out = made(x).reconstruction - made.decoder_bias
    assert 0.2 < (out.norm() / (y - y.mean(dim=0)).norm()).item() < 5


@pytest.mark.parametrize("kind", KINDS)
def test_files_hold_both_sites_and_widths(tmp_path, kind):
    made = transcoder(kind, k=3)
    header = {"site": "layers.1.mlp.input", "target": "layers.1.mlp", "objective": {"kind": "local"}, "tokens": 5,
              "host": {"name": "h", "weights_sha256": "a", "target_weights_sha256": "b"}}  # fmt: skip
    save_dictionary(tmp_path / "d", made, header)
    loaded, found = load_dictionary(tmp_path / "d")
    assert found["target"] == "layers.1.mlp" and (found["d_in"], found["d_out"]) == (D, WIDE)
    assert torch.equal(loaded(sample()).reconstruction, made.eval()(sample()).reconstruction)
    described = json.loads((tmp_path / "d" / "config.json").read_text())
    (tmp_path / "d" / "config.json").write_text(json.dumps(described | {"d_out": WIDE + 1}))
    with pytest.raises(FileFormatError, match="decoder"):
        load_dictionary(tmp_path / "d")


def test_files_from_before_transcoders_still_load_and_others_cannot_claim_a_target(tmp_path):
    made = make_dictionary(TopKConfig(n_latents=M, k=3), D, torch.Generator().manual_seed(0), sample().float())
    header = {"site": "s", "objective": {}, "tokens": 5, "host": {"name": "h", "weights_sha256": "a"}}
    save_dictionary(tmp_path / "d", made, header)
    path = tmp_path / "d" / "config.json"
    described = json.loads(path.read_text())
    older = {key: value for key, value in described.items() if key not in ("target", "d_out")}
    assert older["host"] == header["host"]
    path.write_text(json.dumps(older))
    assert load_dictionary(tmp_path / "d")[1]["target"] is None
    path.write_text(json.dumps(described | {"d_out": 9}))
    with pytest.raises(FileFormatError, match="topk reads width 5 and cannot write width 9"):
        load_dictionary(tmp_path / "d")


def test_refusals():
    with pytest.raises(ConfigError, match="k = 9 latents per token cannot come from n_latents = 8"):
        build(TranscoderConfig, {"n_latents": 8, "k": 9})
    for values in ({"k": 3, "l1": 0.1}, {"k": None}):
        with pytest.raises(ConfigError, match="wanted one of them"):
            build(TranscoderConfig, values)
    assert build(TranscoderConfig, {"n_latents": 8, "l1": 0.1}).k is None
    with pytest.raises(ConfigError, match="topk reads width 5 and cannot write width 7"):
        make_dictionary(TopKConfig(n_latents=8, k=2), D, None, sample().float(), target=target().float())
    with pytest.raises(ConfigError, match="topk writes the site it reads"):
        make_dictionary(TopKConfig(n_latents=8, k=2), D, None, sample().float(), target=sample().float())
    with pytest.raises(ConfigError, match="17 rows, that of the target 3"):
        make_dictionary(TranscoderConfig(n_latents=8, k=2), D, None, sample().float(), target=target(3).float())
    with pytest.raises(ConfigError, match="needs a sample"):
        make_dictionary(TranscoderConfig(n_latents=8, k=2), D, None, sample().float(), d_out=WIDE)
