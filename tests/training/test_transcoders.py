"""Dictionaries that write another site than they read, from the config to the report."""

from __future__ import annotations

import json

import pytest
import torch
from torch.testing import assert_close

from pellucid import cli, job
from pellucid.core.config import build
from pellucid.core.errors import ConfigError, HostMismatchWarning
from pellucid.dictionaries import TranscoderConfig, load_dictionary, make_dictionary
from pellucid.evaluation import evaluate, load_run
from pellucid.evaluation.run import run_targets
from pellucid.evaluation.run_rows import read_rows
from pellucid.training import FitConfig
from pellucid.training.distributed.data import DataRanks
from pellucid.training.distributed.latents import LatentRanks

PLACE = {"site": "layers.1.mlp.input", "target": "layers.1.mlp"}
KIND = {"kind": "transcoder", "n_latents": 40, "k": 3}


def entry(objective: str = "local", **values):
    return {**PLACE, "architecture": KIND, "objective": {"kind": objective}, "lr": 1e-3, **values}


@pytest.fixture
def run(fitted):
    return fitted("run", steps=4, dictionaries={"t": entry(), "e": entry("e2e+ds"), "plain": entry(site="layers.1.mlp")})


def test_it_learns_the_map_from_the_mlps_input_to_its_output(run, small):
    header = load_dictionary(run / "dictionaries" / "t")[1]
    host = small.host()
    assert (header["site"], header["target"]) == ("layers.1.mlp.input", "layers.1.mlp")
    digest = host.weights_digest(host.site("layers.1"))
    assert header["host"]["weights_sha256"] == header["host"]["target_weights_sha256"] == digest
    batch = small.Tokens().train_batch(0, 4)
    seen = {}
    block = host.module.model.layers[1]
    block.mlp.register_forward_hook(lambda _, args, out: seen.update(x=args[0], y=out))
    block.post_attention_layernorm.register_forward_hook(lambda _, args, out: seen.update(norm=out))
    with torch.no_grad():
        host.module(**batch.inputs)
    assert torch.equal(seen["x"], seen["norm"]), "the input of a Llama MLP is the RMSNorm's output"
    x, y = seen["x"][batch.keep], seen["y"][batch.keep]
    start = make_dictionary(TranscoderConfig(n_latents=40, k=3), 32, torch.Generator().manual_seed(0), x, target=y)
    first = json.loads((run / "metrics.jsonl").read_text().splitlines()[0])
    assert first["dictionary"] == "t"
    assert_close(first["mse"], (start(x).reconstruction - y).square().mean().item(), rtol=1e-4, atol=0)


def test_scores_are_those_of_the_target_replaced(run, small):
    host, data = small.host(), small.Tokens()
    dictionaries, headers = load_run(run, host)
    targets = run_targets(host, headers)
    scores = evaluate(host, dictionaries, data, targets=targets)
    batch = data.held_out_rows(torch.arange(data.n_held_out))
    source, target = (host.site(PLACE[key]) for key in ("site", "target"))
    for name in ("t", "e"):
        dictionary = dictionaries[name][0]
        with torch.no_grad():
            values = host.run(batch.inputs, capture=[source, target]).values
            x, y = values[source][batch.keep], values[target][batch.keep]
            out = dictionary(x).reconstruction
            spliced = values[target].clone()
            spliced[batch.keep] = out
            logits = host.logits(host.run(batch.inputs, edit={target: lambda _, new=spliced: new}).output)
        labels = batch.labels[batch.keep]
        ce = torch.nn.functional.cross_entropy(logits[batch.keep], labels, ignore_index=-100)
        assert scores[name]["ce_spliced"] == pytest.approx(float(ce), rel=1e-5)
        assert scores[name]["mse"] == pytest.approx(float((out - y).square().mean()), rel=1e-4)
        fvu = float((out - y).square().sum() / (y - y.mean(dim=0)).square().sum())
        assert scores[name]["fvu"] == pytest.approx(fvu, rel=1e-4)
    with torch.no_grad():
        zeroed = host.logits(host.run(batch.inputs, edit={target: lambda v: v * ~batch.keep.unsqueeze(-1)}).output)
    wanted = float(torch.nn.functional.cross_entropy(zeroed[batch.keep], labels, ignore_index=-100))
    assert scores["t"]["ce_zero_ablation"] == pytest.approx(wanted, rel=1e-5)
    with pytest.warns(HostMismatchWarning, match="trained on host 'small'"):
        load_run(run, small.host(seed=1))


def test_from_a_store_it_learns_the_same(fitted, tmp_path):
    dictionaries = {"t": entry(), "e": entry("e2e")}
    plain = fitted("plain", steps=4, dictionaries=dictionaries)
    stored = fitted("stored", steps=4, dictionaries=dictionaries, store={"folder": str(tmp_path / "store")})
    for name in dictionaries:
        a, b = (load_dictionary(run / "dictionaries" / name)[0].state_dict() for run in (plain, stored))
        assert_close(a, b, rtol=1e-5, atol=1e-7)


def test_the_report_and_the_comparison_name_both_sites(small, tmp_path):
    summary = job.fit(
        small.config(steps=2, dictionaries={"t": entry()}), tmp_path / "run", host=small.host(), data=small.Tokens()
    )
    assert summary["dictionaries"][0]["target"] == "layers.1.mlp"
    (row,) = read_rows([tmp_path / "run"])
    assert row.site == "layers.1.mlp.input -> layers.1.mlp"
    assert row.site.replace(">", "&gt;") in (tmp_path / "run" / "report.html").read_text()


def test_the_command_line_takes_a_target():
    flags = ["--site", "layers.3.mlp.input", "--target", "layers.3.mlp", "--architecture", "skip_transcoder", "--k", "8"]
    config = cli.fit_config(cli.parse(cli.Fit, flags, "fit")).dictionaries["main"]
    assert (config.site, config.target, config.architecture.k) == ("layers.3.mlp.input", "layers.3.mlp", 8)


def test_targets_that_cannot_be_are_refused(fitted, small):
    with pytest.raises(ConfigError, match=r"topk writes the site it reads, 'layers.1'.*transcoder, skip_transcoder"):
        build(FitConfig, {"dictionaries": {"a": {"site": "layers.1", "target": "layers.2"}}})
    with pytest.raises(ConfigError, match="a skip_transcoder reconstructs another site than it reads"):
        build(FitConfig, {"dictionaries": {"a": {"site": "layers.1", "architecture": {"kind": "skip_transcoder"}}}})
    with pytest.raises(ConfigError, match=r"dictionary 'a': unknown site 'layers.9'"):
        fitted("none", dictionaries={"a": entry(target="layers.9")})
    with pytest.raises(ConfigError, match=r"comes by its site 'layers.2' after its target"):
        fitted("back", dictionaries={"a": entry(site="layers.2")})
    config = small.config(parallel="latents", dictionaries={"a": entry()})
    with pytest.raises(ConfigError, match="transcoder cannot be trained with parallel 'latents'"):
        LatentRanks.check(config, 2)
    DataRanks.check(small.config(dictionaries={"a": entry()}), 2)


def test_a_warm_start_fits_both_widths(fitted, run, small):
    folder = str(run / "dictionaries" / "t")
    again = fitted("again", steps=2, dictionaries={"t": entry(init_from=folder)})
    assert load_dictionary(again / "dictionaries" / "t")[1]["provenance"]["warm_start_tokens"] == 4 * small.ROWS * small.CONTEXT
    with pytest.raises(ConfigError, match=r"site 'layers.1.mlp.hidden' gives tensors of width 48.*trained on width 32"):
        fitted("other", dictionaries={"t": entry(init_from=folder, target="layers.1.mlp.hidden")})
