"""A new architecture in under 50 lines, outside the package: fits, files, help, trainer, benchmark."""

from __future__ import annotations

import importlib.metadata
import sys
from pathlib import Path
from typing import ClassVar, Literal

import pytest
import torch
from torch import nn

from pellucid import cli
from pellucid.core.config import build
from pellucid.core.errors import ConfigError
from pellucid.data import PlantedData
from pellucid.dictionaries import (
    ARCHITECTURES,
    ArchitectureBase,
    Dictionary,
    load_dictionary,
    make_dictionary,
    plugins,
    register,
    save_dictionary,
)
from pellucid.dictionaries.plugins import load_modules
from pellucid.hosts import Host
from pellucid.training import FitConfig, fit

HERE = Path(__file__).parent
MODULE, DOCS = HERE / "own_architecture.py", HERE.parents[1] / "docs" / "authoring.md"


@pytest.fixture(autouse=True)
def registry(monkeypatch):
    """Architectures registered by a test are gone after it."""
    before = dict(ARCHITECTURES)
    monkeypatch.syspath_prepend(str(HERE))
    yield
    ARCHITECTURES.clear()
    ARCHITECTURES.update(before)
    sys.modules.pop("own_architecture", None)


def settings(**changes):
    dictionary = {"site": "0", "architecture": {"kind": "soft", "n_latents": 64, "l1": 0.4, **changes}, "lr": 5e-3}
    values = {"dictionaries": {"a": dictionary}, "tokens": 60 * 128, "batch_rows": 128, "sample_rows": 128, "kernels": "plain"}
    return build(FitConfig, values)


def test_it_is_under_fifty_lines_and_the_page_shows_it():
    text = MODULE.read_text()
    assert len(text.splitlines()) < 50
    assert text in DOCS.read_text()


def test_it_trains_and_comes_back_from_its_file(tmp_path):
    load_modules(["own_architecture"])
    host, data = Host(nn.Sequential(nn.Identity()), name="vectors"), PlantedData()
    run = fit(settings(), tmp_path / "run", host=host, data=data)
    found, header = load_dictionary(run / "dictionaries" / "a")
    assert found.kind == "soft" and found.config.l1 == 0.4 and header["architecture"]["start"] == 0.1
    start = make_dictionary(found.config, 32, torch.Generator().manual_seed(0), data.train_batch(0, 128).inputs).eval()
    x = data.truth(torch.arange(500), held_out=True).x
    assert (found(x).reconstruction - x).square().mean() < (start(x).reconstruction - x).square().mean()
    header = {"site": "0", "objective": {"kind": "local"}, "host": {"name": "v", "weights_sha256": "x"}, "tokens": 0}
    save_dictionary(tmp_path / "again", found, header)
    assert torch.equal(load_dictionary(tmp_path / "again")[0].decoder, found.decoder)


def test_its_settings_are_checked_as_those_of_any_other():
    with pytest.raises(ConfigError, match=r"unknown architecture 'soft'.*Known: 'relu', 'topk'"):
        settings()
    load_modules(["own_architecture"])
    assert settings().dictionaries["a"].model_dump(mode="json")["architecture"]["start"] == 0.1
    with pytest.raises(ConfigError, match=r"dictionaries.a.architecture.strat'.*Did you mean 'start'"):
        settings(strat=1)
    with pytest.raises(ConfigError, match=r"architecture.l1': Input should be greater than or equal to 0 \(found -1"):
        settings(l1=-1)


def test_the_command_line_takes_it_with_plugin_and_explains_it(capsys, tmp_path):
    with pytest.raises(SystemExit) as ended:
        cli.main(["fit", "--plugin", "own_architecture", "--help"])
    out = " ".join(capsys.readouterr().out.replace("│", " ").split())
    assert ended.value.code == 0 and "Threshold of every latent at the start." in out
    path = tmp_path / "fit.yaml"
    path.write_text(
        "plugin: [own_architecture]\ndictionaries:\n  a: {site: layers.1, architecture: {kind: soft, start: 0.2}}\n"
    )
    assert cli.parse(cli.Fit, ["--config", str(path)], "fit").dictionaries["a"].architecture.start == 0.2
    assert cli.main(["fit", "--plugin", "no_such_module"]) == 2
    assert "plugin 'no_such_module' cannot be imported" in capsys.readouterr().err


def test_an_installed_package_is_found_when_its_name_is_first_met(monkeypatch):
    point = importlib.metadata.EntryPoint("soft", "own_architecture", plugins.GROUP)
    monkeypatch.setattr(plugins, "entry_points", lambda group: [point] if group == plugins.GROUP else [])
    monkeypatch.setattr(plugins, "_asked", [])
    assert settings().dictionaries["a"].architecture.start == 0.1


def test_what_cannot_be_registered_is_refused():
    class NoConfig(Dictionary):
        kind = "none"
        Config: ClassVar = dict

    class BareConfig(ArchitectureBase):
        kind: Literal["bare"] = "bare"
        width: int = 3

    class Bare(Dictionary):
        kind = "other"
        Config = BareConfig

    class TakenConfig(ArchitectureBase):
        kind: Literal["topk"] = "topk"
        """Name of the architecture."""

    class Taken(Dictionary):
        kind = "topk"
        Config = TakenConfig

    with pytest.raises(ConfigError, match="wanted a subclass of ArchitectureBase"):
        register(NoConfig)
    with pytest.raises(ConfigError, match=r"lacks the field  kind: Literal\[.other.\][\s\S]*BareConfig.width has no docstring"):
        register(Bare)
    with pytest.raises(ConfigError, match=r"'topk' is pellucid.dictionaries.topk.TopKDictionary already"):
        register(Taken)
    assert register(ARCHITECTURES["topk"]) is ARCHITECTURES["topk"]
