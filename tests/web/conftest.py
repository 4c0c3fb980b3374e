"""A small finished run, with hostile names and tokens; and one with an index, opened in the explorer."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from starlette.testclient import TestClient
from tests.web.explored_run import HERE, make_run, tiny_host

from pellucid.web.explorer.app import make_app
from pellucid.web.explorer.explored import ExploredRun

SCRIPT = "<script>alert(1)</script>"


@pytest.fixture(scope="session")
def opened(tmp_path_factory):
    """A run opened to be explored, and the host it belongs to."""
    host = tiny_host()
    run = ExploredRun(make_run(tmp_path_factory.mktemp("explorer") / "run", host))
    yield run, host
    run.close()


@pytest.fixture(scope="session")
def client(opened):
    """Asks the explorer over that run without a socket."""
    run, host = opened
    with TestClient(make_app(run, host), base_url=HERE) as client:
        yield client


@pytest.fixture
def run(tmp_path: Path) -> Path:
    folder = tmp_path / "run"
    folder.mkdir()
    entries, scores = [], {}
    for objective, factor in (("local", 2), ("e2e", 1)):
        for i, ce in enumerate((0.4, 0.2, 0.1)):
            name = f"{objective}-{i}" if i or objective == "local" else SCRIPT
            entry = {
                "name": name,
                "objective": objective,
                "architecture": "topk",
                "site": "layers.8",
                "n_latents": 512,
                "k": 32,
            }
            entry |= {"tokens": 1000, "warm_start_tokens": 0, "l0": 10 * factor * 2**i, "alive": 100 * factor * 2**i}
            entries.append(
                entry | {"ce_increase": ce, "kl": ce, "ce_original": 3.3, "alive_definition": "once in 5,000", "fvu": 0.5}
            )
            density = {"log10_edges": [-3, -2, -1, 0], "counts": [5, 9, 1], "never": 7}
            scores[name] = {"tokens": 5000, "ce_zero_ablation": 11.5, "norm_ratio": 0.5, "density": density}
            scores[name]["downstream_mse"] = {"layers.9": 0.1, "layers.10": 0.2, "layers.11": 9.0}
    features = {SCRIPT: [feature(7, [" the", SCRIPT, "\n", "  ", "\u202e"], [0.0, 2.5, 0.0, 1.25, 0.0], 1)]}
    files = {"scores": scores, "features": features, "provenance": {"date": "2026-11-20T12:00:00", "command": ["a", SCRIPT]}}
    files["summary"] = {
        "host": "tiny",
        "data": {"digest": "d" * 64},
        "budget": {"tokens": 1000},
        "excluded": "position 0 only",
    }
    files["summary"] |= {"dictionaries": entries, "versions": {"torch": "2"}}
    for name, value in files.items():
        (folder / f"{name}.json").write_text(json.dumps(value))
    lines = [
        {"step": s, "tokens": 10 * s, "dictionary": e["name"], "loss": 1 / (s + 1), "l0": 3.0}
        for s in range(9)
        for e in entries
    ]
    (folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    (folder / "config.yaml").write_text(f"host: tiny\nnote: {SCRIPT}\n")
    return folder


def feature(latent: int, tokens: list[str], activations: list[float], peak: int) -> dict[str, object]:
    example = {"tokens": tokens, "activations": activations, "peak": peak}
    effects = {"raises": [[SCRIPT, 1.5], [" a", 1]], "lowers": [["\t", -2]]}
    return {"latent": latent, "density": 0.001, "max": 2.5, "examples": [example]} | effects
