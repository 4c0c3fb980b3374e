"""`pellucid steer` as a user types it, on a run folder with a tiny host."""

from __future__ import annotations

import json

import pytest
import torch
import yaml
from tests.features.conftest import make_tokenizer

from pellucid import cli
from pellucid.core import config as configs
from pellucid.core.errors import HostMismatchWarning
from pellucid.data import load_text
from pellucid.features.steering import Edit, Steerable, generate, next_tokens, tokenize, with_means
from pellucid.hosts import Host
from pellucid.training import DictionaryConfig, FitConfig

PROMPT = "w1 w2 w3 w4 w5"


@pytest.fixture
def steered_run(run, llama_host):
    """A run folder with a host, a text and a config."""
    llama_host.module.save_pretrained(run / "host")
    make_tokenizer().save_pretrained(run / "host")
    words = torch.randint(90, (40, 30), generator=torch.Generator().manual_seed(0)).tolist()
    (run / "text.jsonl").write_text("\n".join(json.dumps({"text": " ".join(f"w{i}" for i in row)}) for row in words))
    values = {
        "host": str(run / "host"),
        "data": {"source": str(run / "text.jsonl"), "context": 16},
        "dictionaries": {"topk": DictionaryConfig(site="layers.1").model_dump(mode="json")},
        "tokens": 64,
    }
    (run / "config.yaml").write_text(configs.dump(configs.build(FitConfig, values)))
    return run


def steer(capsys, *arguments: object) -> tuple[int, str, str]:
    status = cli.main(["steer", *map(str, arguments)])
    captured = capsys.readouterr()
    return status, captured.out, captured.err


def test_it_prints_what_the_functions_return(capsys, steered_run):
    flags = (
        "--dictionary",
        "topk",
        "--latent",
        3,
        "--operation",
        "set",
        "--value",
        40,
        "--prompt",
        PROMPT,
        "--max-new-tokens",
        5,
    )
    status, out, _ = steer(capsys, steered_run, *flags, "--json")
    found = json.loads(out.splitlines()[-1])
    steerable = Steerable.open(steered_run)
    tokens = tokenize(steerable.host, PROMPT)
    edits = [Edit(dictionary="topk", latent=3, operation="set", value=40.0)]
    assert status == 0
    assert found["after"]["text"] == generate(steerable, tokens, edits, max_new_tokens=5).text
    assert found["before"]["text"] == generate(steerable, tokens, max_new_tokens=5).text
    expected = next_tokens(steerable, tokens, edits, top=8)
    assert found["next_tokens"]["kl"] == pytest.approx(expected.kl, rel=1e-5) and expected.kl > 0
    assert [t["text"] for t in found["next_tokens"]["tokens"]] == [t.text for t in expected.tokens]
    status, out, _ = steer(capsys, steered_run, *flags)
    assert "set 40: latent 3 of 'topk', positions all" in out and "layers.1: 1-4" in out
    assert f"without edits: {found['before']['text']!r}" in out and f"with edits:    {found['after']['text']!r}" in out


def test_a_file_of_edits_and_a_mean_that_is_measured(capsys, steered_run):
    path = steered_run / "edits.yaml"
    direction = [0.5] * 32
    edits = [
        {"dictionary": "relu", "latent": 2, "operation": "ablate_mean", "positions": [1, -1]},
        {"site": "layers.2", "direction": direction, "value": 0.2},
    ]
    path.write_text(yaml.safe_dump({"edits": edits}))
    status, out, _ = steer(capsys, steered_run, "--edits", path, "--prompt", PROMPT, "--max-new-tokens", 2, "--json")
    found = json.loads(out.splitlines()[-1])
    assert status == 0 and found["next_tokens"]["edited"] == {"layers.2": [1, 2, 3, 4], "layers.3": [1, 4]}
    host = Host.load(str(steered_run / "host"))
    data = load_text(configs.load(FitConfig, steered_run / "config.yaml").data, host.tokenizer)
    steerable = Steerable.open(steered_run, host)
    dictionary, site = steerable.dictionaries["relu"]
    batch = data.train_batch(0, min(16, data.n_train))
    rows = host.run(batch.inputs, capture=[site], stop=True).values[site][batch.keep]
    with torch.no_grad():
        mean = float(dictionary.encode(rows)[:, 2].mean())
    assert found["edits"][0]["value"] == pytest.approx(mean, rel=1e-5)
    assert with_means(steerable, [Edit(dictionary="relu", latent=2, operation="ablate_mean", value=7.0)], data)[0].value == 7.0


def test_a_dose_response_curve_is_printed_and_returned(capsys, steered_run):
    flags = (
        steered_run,
        "--dictionary",
        "topk",
        "--latent",
        3,
        "--value",
        0.5,
        "--relative",
        "--dose-response",
        "--prompt",
        PROMPT,
    )
    status, out, _ = steer(capsys, *flags, "--max-new-tokens", 1, "--json")
    curve = json.loads(out.splitlines()[-1])["dose_response"]
    assert status == 0 and [dose["strength"] for dose in curve["doses"]] == [-2, -1, -0.5, -0.25, 0, 0.25, 0.5, 1, 2, 4]
    assert curve["doses"][4]["kl"] == 0 and curve["shape"]["monotone_from"] <= 0 <= curve["shape"]["monotone_to"]
    status, out, _ = steer(capsys, *flags, "--max-new-tokens", 1)
    assert "log-odds rise at every step from" in out and "degenerate" in out and "harmonic mean" in out


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ((), "name what to change: --latent N"),
        (("--latent", 3, "--value", 1), r"which dictionary is meant? There are ['relu', 'topk']"),
        (
            ("--dictionary", "tpok", "--latent", 3, "--value", 1),
            "unknown dictionary 'tpok'; there are ['relu', 'topk']. Did you",
        ),
        (("--dictionary", "topk", "--latent", 40, "--value", 1), "dictionary 'topk' has latents 0 to 39, got 40"),
        (("--dictionary", "topk", "--latent", 3, "--value", "nan"), "value is nan, wanted a finite number"),
        (("--dictionary", "topk", "--latent", 3), "operation 'add' needs a value"),
        (("--dictionary", "topk", "--latent", 3, "--value", 1, "--positions", "50"), "positions [50] are outside the text"),
        (("--dictionary", "topk", "--latent", 3, "--value", 1, "--prompt", ""), "the prompt is empty"),
        (
            ("--dictionary", "topk", "--latent", 3, "--value", 1, "--prompt", "w1 " * 300),
            "the prompt has 300 tokens; the limit is 256",
        ),
        (("--edits", "none.yaml"), "none.yaml does not exist"),
    ],
)
def test_what_does_not_fit_is_refused(capsys, steered_run, flags, message):
    status, _, err = steer(capsys, steered_run, *flags)
    assert status == 2 and message in " ".join(err.split())


def test_a_folder_that_is_no_run_is_refused(capsys, tmp_path):
    status, _, err = steer(capsys, tmp_path, "--latent", 3, "--value", 1)
    assert status == 2 and "is not a run folder: it has no config.yaml" in err


def test_a_dictionary_trained_on_another_host_warns_by_name(steered_run, llama_host):
    with torch.no_grad():
        llama_host.module.model.layers[3].mlp.down_proj.weight += 1
    with pytest.warns(HostMismatchWarning, match="dictionary 'relu' was trained on host 'llama'"):
        Steerable.open(steered_run, llama_host)
