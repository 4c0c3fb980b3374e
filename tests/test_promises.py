"""The promises of the design, one test each (the eighth has a file of its own); rooms test them in depth."""

from __future__ import annotations

import json
import logging
import os
import shutil
import subprocess
import sys

import pytest
import torch
from torch import Tensor, nn
from torch.testing import assert_close

from pellucid.core.config import build
from pellucid.core.errors import ConfigError, HostMismatchWarning, PellucidError
from pellucid.core.logging import Ticker
from pellucid.data import Batch, TensorData, TextConfig, load_text
from pellucid.dictionaries import ReluConfig, load_dictionary, make_dictionary
from pellucid.evaluation import evaluate, load_run
from pellucid.hosts import Host
from pellucid.hosts.splice import SharedPass
from pellucid.training import FitConfig, checkpoint, fit

RELU = {"kind": "relu", "n_latents": 24}


class Tokens(TensorData):
    """Random token rows with next-token labels; `order` permutes the held-out rows, `padding` extends every row."""

    def __init__(self, order: Tensor | None = None, padding: int = 0, rows: int = 48) -> None:
        ids = torch.randint(0, 97, (rows, 10), generator=torch.Generator().manual_seed(0))
        super().__init__({"input_ids": ids}, held_out=0.25)
        self.order, self.padding = order, padding

    def train_rows(self, indices: Tensor) -> Batch:
        return _text(super().train_rows(indices), 0)

    def held_out_rows(self, indices: Tensor) -> Batch:
        return _text(super().held_out_rows(indices if self.order is None else self.order[indices]), self.padding)


def _text(batch: Batch, padding: int) -> Batch:
    ids = batch.inputs["input_ids"]
    labels = torch.cat([ids[:, 1:], torch.full_like(ids[:, :1], -100)], dim=1)
    keep = torch.ones_like(ids, dtype=torch.bool)
    keep[:, 0] = False
    pad = nn.functional.pad
    return Batch({"input_ids": pad(ids, (0, padding))}, pad(keep, (0, padding)), pad(labels, (0, padding), value=-100))


def _config(objective="local", site="layers.1", **changes):
    dictionary = {"site": site, "architecture": RELU, "objective": {"kind": objective}}
    values = {"dictionaries": {"d": dictionary}, "tokens": 160, "batch_rows": 4, "checkpoint_seconds": 0, "log_every": 1}
    return build(FitConfig, values | changes)


def test_promise_1_exact(any_host):
    host, inputs, site = any_host
    seen = []
    handle = host.module.get_submodule(site.path).register_forward_hook(
        lambda _, __, out: seen.append((out[0] if isinstance(out, tuple) else out).clone())
    )
    with torch.no_grad():
        plain = host.logits(host.run(inputs).output)
    handle.remove()
    host.prepare(inputs, [site])
    shared = SharedPass(host, inputs, None, splice=[site])
    assert torch.equal(shared.rows(site), site.features_last(seen[0]).flatten(0, -2)), "capture equals a plain hook"
    with torch.no_grad():
        spliced = shared.splice(site, lambda rows: rows.clone())
    assert_close(spliced.features, plain.flatten(0, -2), atol=1e-5, rtol=0)
    assert host.resumable(site)
    with torch.no_grad():
        prefix = host.run(inputs, prefixes=[site]).prefixes[site]
        assert torch.equal(host.logits(host.run(inputs, resume=prefix).output), plain), "from a site equals the full run"
    with pytest.raises(ZeroDivisionError):
        shared.splice(site, lambda rows: rows / (1 // 0))
    assert not any(m._forward_hooks or m._forward_pre_hooks or "forward" in m.__dict__ for m in host.module.modules())


class Odd(nn.Module):
    """No known name, no blocks, features first, a tuple as output."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.mixer, self.reader = nn.Conv1d(3, 6, 1), nn.Linear(6, 4)

    def forward(self, x: Tensor, scale: Tensor) -> tuple[str, Tensor]:
        return "odd", self.reader((self.mixer(x) * scale[:, None]).mean(-1))


@pytest.mark.parametrize("objective", ["local", "e2e"])
def test_promise_2_any_module(any_host, tmp_path, objective):
    host, inputs, site = any_host
    rows = inputs["input_ids"] if isinstance(inputs, dict) else inputs
    times = [4, *[1] * (rows.ndim - 1)] if host.name != "gru" else [1, 4, 1]
    rows = rows.repeat(*times)
    tensors = {"input_ids": rows} if isinstance(inputs, dict) else rows
    data = TensorData(tensors, row_dim=int(host.name == "gru"), positions_per_row=4)
    run = fit(_config(objective, str(site), tokens=48), tmp_path / "run", host=host, data=data)
    assert load_dictionary(run / "dictionaries" / "d")[0].d_in == host.widths(inputs).get(
        str(site), 8 if host.name == "cnn" else 12
    )

    odd = Host(Odd())
    data = TensorData((torch.randn(20, 3, 5), torch.ones(20, 5)), positions_per_row=5)
    run = fit(_config(objective, "mixer", tokens=60), tmp_path / "odd", host=odd, data=data)
    assert load_dictionary(run / "dictionaries" / "d")[0].d_in == 6


def test_promise_3_one_definition_a_number(llama_host):
    site = llama_host.site("layers.1")
    dictionaries = {"d": (make_dictionary(ReluConfig(n_latents=40), 32, torch.Generator().manual_seed(0)), site)}
    plain = evaluate(llama_host, dictionaries, Tokens(), batch_rows=12)["d"]
    order = torch.randperm(12, generator=torch.Generator().manual_seed(1))
    others = {
        "batch size": evaluate(llama_host, dictionaries, Tokens(), batch_rows=5)["d"],
        "order": evaluate(llama_host, dictionaries, Tokens(order), batch_rows=7)["d"],
        "padding": evaluate(llama_host, dictionaries, Tokens(padding=3), batch_rows=12)["d"],
    }
    exact = ("l0", "alive", "alive_tokens", "tokens", "top1_agreement", "density")
    for what, other in others.items():
        assert other.keys() == plain.keys()
        for key, value in plain.items():
            if key in exact:
                assert other[key] == value, (what, key)
            elif key != "alive_definition":
                assert other[key] == pytest.approx(value, rel=1e-5, abs=1e-6), (what, key)


class PowerCut(Exception):
    pass


def test_promise_4_bit_exact_resume(llama_host, tmp_path):
    config = _config("e2e")
    whole = fit(config, tmp_path / "whole", host=llama_host, data=Tokens())
    cut = Tokens()
    plain = cut.train_batch
    for last in (0, 2):

        def until(step, size, last=last):
            if step > last:
                raise PowerCut
            return plain(step, size)

        cut.train_batch = until
        with pytest.raises(PowerCut):
            fit(config, tmp_path / "cut", host=llama_host, data=cut)
        assert checkpoint.latest(tmp_path / "cut" / "checkpoint")[0] == last + 1
    resumed = fit(config, tmp_path / "cut", host=llama_host, data=Tokens())
    for name in ("metrics.jsonl", "config.yaml", "dictionaries/d/weights.safetensors"):
        assert (resumed / name).read_bytes() == (whole / name).read_bytes(), name


def test_promise_5_nothing_silent(llama_host, tmp_path):
    with pytest.raises(ConfigError) as caught:
        build(FitConfig, {"tokns": 5, "clip": -1, "dictionaries": {"d": {"site": "layers.1", "lr": 0}}})
    assert all(part in str(caught.value) for part in ("'tokns'", "'tokens'", "'clip'", "found -1", "'dictionaries.d.lr'"))
    with pytest.raises(ConfigError, match=r"unknown site 'layer\.1' .*Did you mean .*'layers\.1'"):
        fit(_config(site="layer.1"), tmp_path / "site", host=llama_host, data=Tokens())
    (tmp_path / "empty.txt").write_text("")
    with pytest.raises(PellucidError, match=r"empty\.txt"):
        load_text(TextConfig(source=str(tmp_path / "empty.txt")), _tokenizer())
    with torch.no_grad():
        llama_host.module.model.layers[0].mlp.down_proj.weight[3] = float("nan")
    with pytest.raises(PellucidError, match=r"'layers\.1' are not finite at step 0, row 0, position 1"):
        fit(_config(), tmp_path / "nan", host=llama_host, data=Tokens())


WORDS = [f"word{i}" for i in range(20)]


def _tokenizer():
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    plain = Tokenizer(models.WordLevel({word: i for i, word in enumerate(["<eos>", "<unk>", *WORDS])}, unk_token="<unk>"))
    plain.pre_tokenizer = pre_tokenizers.Whitespace()
    return PreTrainedTokenizerFast(tokenizer_object=plain, eos_token="<eos>", unk_token="<unk>")


OFFLINE = """
import sys
def refuse(event, arguments):
    if event in ("socket.connect", "socket.getaddrinfo", "socket.gethostbyname", "socket.sendto", "urllib.Request"):
        raise SystemExit(f"a socket was opened: {event} {arguments}")
sys.addaudithook(refuse)
from pellucid.cli import main
raise SystemExit(main(sys.argv[1:]))
"""


def _without_network() -> list[str]:
    """The command that runs another one in a network of its own, which has nothing in it; empty if that is not permitted."""
    for command in (["unshare", "-n"], ["unshare", "-rn"]):
        if shutil.which("unshare") and subprocess.run([*command, "true"], capture_output=True, check=False).returncode == 0:
            return command
    return []


def test_promise_6_offline(llama_host, tmp_path):
    llama_host.module.save_pretrained(tmp_path / "host")
    _tokenizer().save_pretrained(tmp_path / "host")
    generator = torch.Generator().manual_seed(0)
    texts = [" ".join(WORDS[i] for i in torch.randint(0, len(WORDS), (40,), generator=generator)) for _ in range(30)]
    (tmp_path / "text.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    flags = {
        "host": tmp_path / "host", "out": tmp_path / "run", "site": "layers.1", "data.source": tmp_path / "text.jsonl",
        "data.context": 16, "tokens": 256, "batch-rows": 4,
    }  # fmt: skip
    arguments = [part for flag, value in flags.items() for part in (f"--{flag}", str(value))]
    clean = {key: value for key, value in os.environ.items() if not key.startswith(("HF_", "TRANSFORMERS_"))}
    done = subprocess.run(
        [*_without_network(), sys.executable, "-c", OFFLINE, "fit", *arguments],
        capture_output=True, text=True, check=False, env=clean,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr + done.stdout
    made = {path.name for path in (tmp_path / "run").iterdir()}
    assert {"config.yaml", "metrics.jsonl", "scores.json", "summary.json", "report.html"} <= made


def test_promise_7_provenance(llama_host, tmp_path):
    data = Tokens()
    run = fit(_config("e2e", dictionaries={"mine": {"site": "layers.1", "seed": 5, "architecture": RELU}}), tmp_path / "run",
              host=llama_host, data=data)  # fmt: skip
    site = llama_host.site("layers.1")
    record = json.loads((run / "provenance.json").read_text())
    assert record["host"] == "llama" and record["host_weights_sha256"] == {"layers.1": llama_host.weights_digest(site)}
    assert record["data"]["digest"] == data.digest() and {"python", "torch", "pellucid"} <= record["versions"].keys()
    assert "seed: 5" in (run / "config.yaml").read_text()
    header = json.loads((run / "dictionaries" / "mine" / "config.json").read_text())
    assert header["site"] == "layers.1" and header["provenance"]["seed"] == 5
    assert header["host"] == {"name": "llama", "weights_sha256": llama_host.weights_digest(site)}
    assert header["provenance"]["data_sha256"] == data.digest()
    load_run(run, llama_host)
    with torch.no_grad():
        llama_host.module.model.layers[1].mlp.up_proj.weight[0, 0] += 1e-3
    llama_host.name = "other"
    with pytest.warns(HostMismatchWarning, match=r"'mine' was trained on host 'llama'.*'layers\.1'.*'other'"):
        load_run(run, llama_host)


def test_promise_9_long_work_shows_itself(llama_host, tmp_path, caplog, capsys, monkeypatch):
    with caplog.at_level(logging.INFO, "pellucid"):
        run = fit(_config("e2e"), tmp_path / "run", host=llama_host, data=Tokens())
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == [1, 2, 3, 4] and [line["tokens"] for line in lines] == [40, 80, 120, 160]
    assert {"dictionary", "loss", "kl", "sparsity", "l0", "dead", "lr", "grad_norm"} <= lines[0].keys()
    assert "memory estimate: " in caplog.records[0].getMessage(), "memory is estimated first"

    with caplog.at_level(logging.INFO, "pellucid"), Ticker("walking", 100, unit="steps", every=0.0) as ticker:
        ticker.advance(25, "left foot")
    message = caplog.records[-1].getMessage()
    assert message.startswith("walking: 25 of 100 steps, ") and "/s, " in message and "s left left foot" in message

    monkeypatch.setenv("FORCE_COLOR", "1")
    with Ticker("walking", 100, unit="steps") as ticker:
        ticker.advance(25)
    shown = capsys.readouterr().err
    assert "walking" in shown and "steps/s" in shown and "left" in shown
