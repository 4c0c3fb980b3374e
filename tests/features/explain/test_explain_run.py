from __future__ import annotations

import json
import shutil

import pytest
from tests.features.explain.planted import completion, endpoint

from pellucid.cli.explain import _described
from pellucid.core.errors import FileFormatError, PellucidError, RunError
from pellucid.features.explain.contexts import ContextConfig
from pellucid.features.explanations import EXPLANATIONS, ExplainConfig, explain_run, read_explanations
from pellucid.features.language import EndpointConfig, EndpointError

KEY = "sk-secret-0123456789"
SMALL = ContextConfig(length=4, shown=40, scored=12, min_firing=4)


@pytest.fixture
def run(tmp_path, indexed):
    return shutil.copytree(indexed, tmp_path / "run")


def config(**settings):
    return ExplainConfig(**{"latents": 5, "contexts": SMALL, "scores": ("detection", "fuzzing"), **settings})


def by_endpoint(url, timeout=30.0, **settings):
    asked = EndpointConfig(url=url, retries=0, requests_per_minute=60000.0, key_variable="PELLUCID_TEST_KEY", timeout=timeout)
    return config(explainer="openai", endpoint=asked, **settings)


def test_a_run_without_an_index_says_what_to_do(run, tiny):
    shutil.rmtree(run / "index")
    with pytest.raises(RunError, match=r"has no index.*pellucid index"):
        explain_run(run, config(), host=tiny[0], data=tiny[1])


def test_explanations_are_scored_kept_and_not_made_twice(run, tiny):
    summary = explain_run(run, config(), host=tiny[0], data=tiny[1])["explained"]["d"]
    table = read_explanations(run, "d", "pattern")
    assert table.schema.names == EXPLANATIONS.names
    assert summary["latents_explained"] + summary["latents_too_rare"] == 5 and len(table) == summary["latents_explained"] > 2
    for row in table.to_pylist():
        assert row["text"].startswith("Fires ") and row["explainer"] == "pattern"
        assert row["detection_low"] <= row["detection"] <= row["detection_high"] and row["detection_n"] >= 8
        assert row["embedding"] is None and 0 <= row["detection_shuffled"] <= 1
    written = json.loads((run / "explanations" / "d" / "summary.json").read_text())["pattern"]
    assert written["scores"]["detection"]["n"] == len(table)
    assert _described(written).startswith(f"{len(table)} latents explained") and "; detection 0." in _described(written)

    lines = (run / "explanations" / "d" / "work" / "pattern.jsonl").read_bytes()
    explain_run(run, config(), host=tiny[0], data=tiny[1])
    assert (run / "explanations" / "d" / "work" / "pattern.jsonl").read_bytes() == lines, "nothing was left to do"
    cut = lines[: len(lines) // 2]
    (run / "explanations" / "d" / "work" / "pattern.jsonl").write_bytes(cut)
    explain_run(run, config(), host=tiny[0], data=tiny[1])
    assert read_explanations(run, "d", "pattern").equals(table), "a job that was killed ends as one that was not"


def test_other_settings_are_refused_by_name_unless_told(run, tiny):
    explain_run(run, config(scores=()), host=tiny[0], data=tiny[1])
    with pytest.raises(RunError, match=r"seed: there 0, here 1"):
        explain_run(run, config(seed=1), host=tiny[0], data=tiny[1])
    explain_run(run, config(seed=1, scores=()), host=tiny[0], data=tiny[1], replace=True)


@pytest.mark.parametrize(
    ("failure", "message"),
    [
        ((500, b"", {}), "no answer in 1 tries: HTTP status 500.*Work done so far is kept"),
        (5.0, "no answer in 1 tries: no answer within 1.5 s.*Work done so far is kept"),
        (b"SSH-2.0-server\r\n", "no whole HTTP answer.*Work done so far is kept"),
        ((200, b"<html>hello</html>", {}), "no chat completion. Work done so far is kept"),
    ],
    ids=["fails", "silent", "no HTTP", "nonsense"],
)
def test_an_endpoint_that_breaks_down_costs_no_work(run, tiny, failure, message, monkeypatch, caplog):
    monkeypatch.setenv("PELLUCID_TEST_KEY", KEY)
    caplog.set_level("DEBUG")
    text = "a <b>word</b> \u202e\U0001f600\x07"
    settings = {"scores": ("detection",), "timeout": 1.5 if isinstance(failure, float) else 30.0}
    with (
        endpoint(lambda number, *_: completion(text) if number < 3 else failure) as (gone, _),
        pytest.raises(EndpointError, match=message),
    ):
        explain_run(run, by_endpoint(gone, **settings), host=tiny[0], data=tiny[1])
    with pytest.raises(EndpointError, match=r"cannot be reached .*Work done so far is kept"):
        explain_run(run, by_endpoint(gone, **settings), host=tiny[0], data=tiny[1])
    kept = read_explanations(run, "d", "openai").to_pylist()
    assert [row["text"] for row in kept] == [text, text]

    judged = []

    def other(_, body, __):
        if "Yes or No" in body["messages"][0]["content"]:
            judged.append(body)
        return completion("Yes" if len(judged) != 4 else "Perhaps")

    with endpoint(other) as (url, seen), pytest.raises(EndpointError, match=r"answered 'Perhaps'.*Work done so far is kept"):
        explain_run(run, by_endpoint(url, scores=("detection",)), host=tiny[0], data=tiny[1])
    explained = len(read_explanations(run, "d", "openai"))
    assert explained == 2 + len(seen) - len(judged) > 2
    with endpoint(lambda *_: completion("Yes")) as (url, later):
        summary = explain_run(run, by_endpoint(url, scores=("detection",)), host=tiny[0], data=tiny[1])["explained"]["d"]
    rows = read_explanations(run, "d", "openai").to_pylist()
    assert len(rows) == explained
    assert [row["latent"] for row in rows if row["text"] == text] == [row["latent"] for row in kept]
    assert summary["scores"]["detection"]["mean"] == 0.5, "a judge that always says yes is at chance"
    assert summary["cost"]["requests"] == 3 + 1 + len(seen) + len(later)
    for path in run.rglob("*"):
        assert path.is_dir() or KEY.encode() not in path.read_bytes(), path
    assert KEY not in caplog.text


def test_codes_read_for_some_latents_serve_later_jobs(run, tiny, monkeypatch):
    explain_run(run, config(latents=3, scores=()), host=tiny[0], data=tiny[1])
    explain_run(run, config(latents=8), host=tiny[0], data=tiny[1], replace=True)
    table = read_explanations(run, "d", "pattern")
    shutil.rmtree(run / "explanations")
    explain_run(run, config(latents=8), host=tiny[0], data=tiny[1])
    assert read_explanations(run, "d", "pattern").equals(table)
    monkeypatch.setattr("pellucid.features.explanations.activations.held_out_codes", None)
    explain_run(run, config(latents=3), host=tiny[0], data=tiny[1], replace=True)


def test_broken_files_are_named(run, tiny):
    explain_run(run, config(scores=()), host=tiny[0], data=tiny[1])
    work = run / "explanations" / "d" / "work" / "pattern.jsonl"
    work.write_text("no json\n")
    with pytest.raises(FileFormatError, match=r"line 1 of .*pattern\.jsonl"):
        explain_run(run, config(scores=()), host=tiny[0], data=tiny[1])
    (run / "explanations" / "d" / "pattern.parquet").write_bytes(b"PAR1")
    with pytest.raises(FileFormatError, match="not a readable Parquet file"):
        read_explanations(run, "d", "pattern")
    with pytest.raises(RunError, match="has no explanations of 'd' by local"):
        read_explanations(run, "d", "local")


@pytest.mark.parametrize("settings", [{"explainer": "patern"}, {"scores": ("detektion",)}, {"judge": "me"}, {"latents": 0}])
def test_unknown_settings_are_refused(settings):
    with pytest.raises(ValueError, match=r"Did you mean|wanted one of|greater than"):
        config(**settings)


def test_embedding_without_a_model_is_refused_before_work(run, tiny):
    with pytest.raises(PellucidError, match="--embedding-model"):
        explain_run(run, config(scores=("embedding",)), host=tiny[0], data=tiny[1])
    assert not (run / "explanations").exists()
