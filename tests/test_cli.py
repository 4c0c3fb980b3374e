"""The command line as a user types it."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
import yaml

from pellucid import cli
from pellucid.core.errors import ConfigError
from pellucid.dictionaries import ARCHITECTURES
from pellucid.training import FitConfig


def run(capsys, *arguments: str) -> tuple[int, str, str]:
    status = cli.main(arguments)
    captured = capsys.readouterr()
    return status, captured.out, captured.err


def test_help_lists_every_verb(capsys):
    status, out, _ = run(capsys, "--help")
    assert status == 0
    assert all(verb in out for verb in ("demo", "get", "fit", "evaluate", "compare", "report"))


@pytest.mark.parametrize("verb", list(cli.VERBS))
def test_each_verb_explains_itself_and_takes_config_and_json(capsys, verb):
    with pytest.raises(SystemExit) as ended:
        cli.main([*verb.split(), "--help"])
    out = capsys.readouterr().out
    assert ended.value.code == 0 and "--json" in out and "--config" in out


def test_help_of_fit_explains_every_setting_of_every_architecture(capsys):
    with pytest.raises(SystemExit):
        cli.main(["fit", "--help"])
    out = " ".join(capsys.readouterr().out.replace("│", " ").split())
    for name, kind in ARCHITECTURES.items():
        assert f"{name}: {kind.Config.__doc__.strip()}" in out
        for setting, field in kind.Config.model_fields.items():
            if setting != "kind":
                assert f"{setting} (default {field.default}): {' '.join(field.description.split())}" in out


def test_a_reader_that_stops_early_gets_no_traceback():
    process = subprocess.Popen(
        [sys.executable, "-m", "pellucid", "explain", "--help"], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert process.stdout is not None and process.stderr is not None
    process.stdout.close()
    assert process.wait(60) == 141
    assert process.stderr.read() == b""
    process.stderr.close()


def test_a_word_that_begins_several_verbs_lists_them(capsys):
    status, out, _ = run(capsys, "bench", "--help")
    assert status == 0 and "bench mips" in out and "bench dictionaries" in out and "  fit" not in out
    assert run(capsys, "bench")[0] == 2
    status, _, err = run(capsys, "bench", "dictionries")
    assert status == 2 and "unknown verb 'bench dictionries'. Did you mean 'bench dictionaries'" in err


def test_unknown_verb_names_the_nearest(capsys):
    status, _, err = run(capsys, "fti")
    assert status == 2 and "unknown verb 'fti'. Did you mean 'fit'" in err


def test_unknown_keys_of_a_config_file_are_all_named(capsys, tmp_path):
    path = tmp_path / "fit.yaml"
    path.write_text("tokenz: 5\ndata:\n  contxt: 4\n")
    status, out, err = run(capsys, "fit", "--config", str(path), "--json")
    assert status == 2 and "unknown key 'tokenz'. Did you mean 'tokens'" in err and "unknown key 'data.contxt'" in err
    assert json.loads(out.splitlines()[-1])["kind"] == "ConfigError"


def test_the_same_config_comes_from_flags_a_file_and_python(tmp_path):
    flags = ["--site", "layers.3", "--architecture", "relu", "--l1", "2.5", "--objective", "e2e", "--tokens", "4096"]
    by_flags = cli.fit_config(cli.parse(cli.Fit, flags, "fit"))
    path = tmp_path / "fit.yaml"
    path.write_text(yaml.safe_dump(by_flags.model_dump(mode="json")))
    by_file = cli.fit_config(cli.parse(cli.Fit, ["--config", str(path)], "fit"))
    dictionary = {"site": "layers.3", "architecture": {"kind": "relu", "l1": 2.5}, "objective": {"kind": "e2e"}}
    assert by_flags == by_file == FitConfig.model_validate({"dictionaries": {"main": dictionary}, "tokens": 4096})


def test_flags_win_over_the_file(tmp_path):
    path = tmp_path / "fit.yaml"
    path.write_text("tokens: 1000\nbatch_rows: 3\n")
    config = cli.fit_config(cli.parse(cli.Fit, ["--config", str(path), "--tokens", "2000"], "fit"))
    assert (config.tokens, config.batch_rows) == (2000, 3)


def test_k_larger_than_the_width_is_refused(capsys, tmp_path):
    status, _, err = run(capsys, "fit", "--k", "9999", "--out", str(tmp_path / "run"))
    assert status == 2 and "k = 9999" in err and "n_latents = 2304" in err


def test_flags_and_a_file_with_other_names_contradict(tmp_path):
    path = tmp_path / "fit.yaml"
    path.write_text("dictionaries:\n  a: {site: layers.1}\n  b: {site: layers.2}\n")
    with pytest.raises(ConfigError, match=r"flags \['k'\] describe one dictionary, but the file names \['a', 'b'\]"):
        cli.fit_config(cli.parse(cli.Fit, ["--config", str(path), "--k", "3"], "fit"))


def test_evaluate_of_no_run_says_how_to_make_one(capsys, tmp_path):
    status, _, err = run(capsys, "evaluate", str(tmp_path / "none"))
    assert status == 2 and "has no config.yaml" in err and "pellucid fit --out" in err
