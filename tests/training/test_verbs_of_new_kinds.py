"""Kinds of dictionaries as a user meets them: fit, evaluate, compare and report from the command line, on a small host."""

from __future__ import annotations

import json

import pytest
import torch
from tests.data.conftest import word_tokenizer

from pellucid import cli
from pellucid.core.errors import ConfigError
from pellucid.dictionaries import load_dictionary

MLP = ("--site", "layers.1.mlp.input", "--target", "layers.1.mlp")
FITS = {
    "transcoder": (*MLP, "--architecture", "transcoder", "--k", "3"),
    "relu transcoder": (*MLP, "--architecture", "transcoder", "--l1", "0.5", "--objective", "e2e"),
    "skip": (*MLP, "--architecture", "skip_transcoder", "--k", "3", "--objective", "e2e+ds"),
    "gradient": ("--site", "layers.1", "--architecture", "gradient", "--k", "3", "--settings", "beta=0.3"),
    "heads": ("--site", "layers.1.attn.z", "--architecture", "topk", "--k", "3", "--settings", "atom_init=weights"),
    "snmf": ("--site", "layers.1.mlp.hidden", "--architecture", "snmf", "--settings", "winners=0.2", "iterations=5"),
    "qlae": ("--site", "layers.1", "--architecture", "latent_quantization", "--settings", "n_values=4", "hidden=[8]"),
}


@pytest.fixture(scope="module")
def place(small, tmp_path_factory):
    """A folder with a host and a text file, and what every fit is called with."""
    folder = tmp_path_factory.mktemp("verbs")
    small.host(layers=3).module.save_pretrained(folder / "host")
    word_tokenizer(words=small.VOCABULARY - 2).save_pretrained(folder / "host")
    draw = torch.Generator().manual_seed(0)
    words = [" ".join(f"w{i}" for i in torch.randint(0, small.VOCABULARY - 2, (40,), generator=draw)) for _ in range(20)]
    (folder / "text.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in words))
    flags = {"host": folder / "host", "data.source": folder / "text.jsonl", "data.context": 12, "tokens": 240, "batch-rows": 4,
             "n-latents": 40, "evaluation.rows": 6, "evaluation.features": 2}  # fmt: skip
    return folder, [part for flag, value in flags.items() for part in (f"--{flag}", str(value))]


LONGER = ("relu transcoder", "skip")
"""Whose verbs differ from those of the transcoder in nothing but training."""


@pytest.mark.parametrize("name", [pytest.param(name, marks=[pytest.mark.evidence] if name in LONGER else []) for name in FITS])
def test_fit_evaluate_compare_and_report(place, capsys, name):
    folder, common = place
    run, asked = folder / name, dict(zip(FITS[name][::2], FITS[name][1::2], strict=False))
    assert cli.main(["fit", *common, *FITS[name], "--out", str(run), "--json"]) == 0
    (row,) = json.loads(capsys.readouterr().out.splitlines()[-1])["dictionaries"]
    assert (row["site"], row.get("target"), row["architecture"]) == (
        asked["--site"],
        asked.get("--target"),
        asked["--architecture"],
    )
    header = load_dictionary(run / "dictionaries" / "main")[1]
    assert header["site"] == row["site"] and header["target"] == row.get("target")
    assert cli.main(["evaluate", str(run), "--json"]) == 0
    (again,) = json.loads(capsys.readouterr().out.splitlines()[-1])["dictionaries"]
    assert {key: again[key] for key in ("l0", "ce_increase", "fvu")} == {key: row[key] for key in ("l0", "ce_increase", "fvu")}
    where = f"{row['site']} -> {row['target']}" if "target" in row else row["site"]
    assert cli.main(["evaluate", str(run)]) == 0
    assert where in capsys.readouterr().out
    page = folder / f"{name}.html"
    assert cli.main(["compare", str(run), "--out", str(page), "--json"]) == 0
    (compared,) = json.loads(capsys.readouterr().out.splitlines()[-1])["rows"]
    assert (compared["site"], compared["architecture"]) == (where, row["architecture"]) and compared["setting"]
    (run / "report.html").unlink()
    assert cli.main(["report", str(run)]) == 0
    for text in (page.read_text(), (run / "report.html").read_text()):
        assert where.replace(">", "&gt;") in text and row["architecture"] in text
    for feature in json.loads((run / "features.json").read_text())["main"]:
        assert ("heads" in feature) == (name == "heads")
        if name == "heads":
            assert sum(feature["heads"]) == pytest.approx(1, abs=1e-4) and len(feature["heads"]) == 2
            largest = max(range(2), key=lambda head: feature["heads"][head])
            assert f"head {largest} {feature['heads'][largest]:.0%}" in (run / "report.html").read_text()


def test_settings_reach_the_architecture(place):
    config = cli.fit_config(cli.parse(cli.Fit, list(FITS["qlae"]), "fit")).dictionaries["main"].architecture
    assert (config.n_values, config.hidden) == (4, (8,))
    for words, message in (
        (["beta"], "'beta' is no setting, wanted name=value"),
        (["beta=["], r"'beta=\[' is no setting"),
        (["beta=1", "beta=2"], "'beta' is set twice"),
        (["kind=gradient"], "--settings gives kind"),
        (["betta=1"], "unknown key 'dictionaries.main.architecture.betta'. Did you mean 'beta'"),
    ):
        with pytest.raises(ConfigError, match=message):
            cli.fit_config(cli.parse(cli.Fit, ["--architecture", "gradient", "--settings", *words], "fit"))
    with pytest.raises(ConfigError, match="--settings gives k, which has a flag of its own"):
        cli.fit_config(cli.parse(cli.Fit, ["--k", "3", "--settings", "k=3"], "fit"))
