"""Comparison of small run folders with ratios known exactly."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from pellucid.core.errors import RunError
from pellucid.evaluation.compare import compare

LOCAL = ((20, 200, 0.4), (40, 400, 0.2), (80, 800, 0.1))
E2E = ((10, 150, 0.4), (20, 300, 0.2), (40, 600, 0.1))


def entry(objective: str, l0: float | None, alive: float | None, ce: float | None, **changes: Any) -> dict[str, Any]:
    out = {"name": f"{objective}-{l0}", "objective": objective, "architecture": "topk", "site": "layers.8", "n_latents": 1024}
    out |= {"k": 32, "tokens": 1000, "warm_start_tokens": 0, "l0": l0, "alive": alive, "ce_increase": ce, "kl": ce}
    return out | {"ce_original": 3.3, "alive_definition": "fired once in 5,000 tokens", "fvu": 0.5, "seconds": 1.0} | changes


def write_run(folder: Path, entries: list[dict[str, Any]], held_out: int = 5000, **changes: Any) -> Path:
    folder.mkdir(parents=True)
    summary = {"host": "tiny", "data": {"digest": "d" * 64}, "dictionaries": entries} | changes
    (folder / "summary.json").write_text(json.dumps(summary))
    (folder / "scores.json").write_text(json.dumps({e["name"]: {"tokens": held_out} for e in entries}))
    return folder


def both(folder: Path, **changes: Any) -> Path:
    entries = [entry("local", *v) for v in LOCAL] + [entry("e2e", *v, **changes) for v in E2E]
    return write_run(folder, entries)


def ratios(comparison: Any) -> dict[str, float | None]:
    return {finding.quantity: finding.ratio for finding in comparison.findings}


def test_ratios_are_exact_and_said_in_words(tmp_path):
    found = compare([both(tmp_path / "run")])
    assert found.warnings == ()
    values = ratios(found)
    assert values["l0 at equal ce_increase"] == pytest.approx(0.5)
    assert values["alive at equal ce_increase"] == pytest.approx(0.75)
    assert found.sentences[0].startswith("At equal CE increase, e2e needs 0.5 times the active latents (L0) of local")
    assert "from 0.1 to 0.4" in found.sentences[0] and "Both trained on 1,000 tokens." in found.sentences[0]


def test_the_reference_can_be_another_objective(tmp_path):
    assert ratios(compare([both(tmp_path / "run")], reference="e2e"))["l0 at equal ce_increase"] == pytest.approx(2.0)


def test_runs_given_apart_equal_one_run(tmp_path):
    a = write_run(tmp_path / "a", [entry("local", *v) for v in LOCAL])
    b = write_run(tmp_path / "b", [entry("e2e", *v) for v in E2E])
    assert ratios(compare([a, b])) == ratios(compare([both(tmp_path / "c")]))


def test_architectures_can_be_compared_at_one_objective(tmp_path):
    entries = [entry("local", *v) for v in LOCAL]
    entries += [entry("local", *v, architecture="batchtopk", name=f"b{v[0]}") for v in E2E]
    found = compare([write_run(tmp_path / "run", entries)], reference="topk", vary="architecture")
    assert ratios(found)["l0 at equal ce_increase"] == pytest.approx(0.5)


def test_unequal_budgets_are_said_with_the_ratio_and_as_a_warning(tmp_path):
    found = compare([both(tmp_path / "run", tokens=500, warm_start_tokens=250)])
    assert "Budgets are not equal: local trained on 1,000 tokens; e2e on 750 tokens (250 warm start)." in found.sentences[0]
    assert any("Training budgets" in w and "run (e2e)" in w for w in found.warnings)


def test_a_warm_start_counts_into_an_equal_budget(tmp_path):
    found = compare([both(tmp_path / "run", tokens=750, warm_start_tokens=250)])
    assert found.warnings == ()
    assert "Equal budgets: local 1,000 tokens, e2e 1,000 tokens (250 warm start)." in found.sentences[0]


@pytest.mark.parametrize(("change", "word"), [({"host": "other"}, "Hosts"), ({"data": {"digest": "e" * 64}}, "Data")])
def test_no_ratio_between_other_hosts_or_data(tmp_path, change, word):
    a = write_run(tmp_path / "a", [entry("local", *v) for v in LOCAL])
    b = write_run(tmp_path / "b", [entry("e2e", *v) for v in E2E], **change)
    found = compare([a, b])
    assert ratios(found) == {"all": None}
    assert f"{word} differ" in found.sentences[0]
    assert any(w.startswith(f"{word} differ") and "for a;" in w and "for b" in w for w in found.warnings)


def test_another_host_does_not_spoil_the_ratios_of_the_first(tmp_path):
    foreign = write_run(tmp_path / "b", [entry("e2e", *v) for v in LOCAL], host="other")
    found = compare([both(tmp_path / "a"), foreign])
    assert len(found.groups) == 3
    assert found.findings[0].ratio == pytest.approx(0.5) and found.findings[0].other == "e2e (tiny)"


def test_differences_that_limit_a_ratio_are_all_named_at_once(tmp_path):
    a = write_run(tmp_path / "a", [entry("local", *v) for v in LOCAL])
    entries = [entry("e2e", *v, ce_original=3.5, alive_definition="fired once in 9 tokens") for v in E2E]
    entries.append(entry("e2e", 60, 700, 0.09, n_latents=2048, ce_original=3.5))
    text = "\n".join(compare([a, write_run(tmp_path / "b", entries, held_out=9)]).warnings)
    for words in (
        "Held-out token counts differ: 5,000 for a; 9 for b",
        "Definitions of alive differ",
        "own CE differs",
        "widths",
    ):
        assert words in text
    assert "2,048 for b/e2e-60" in text


def test_alive_counts_of_other_definitions_get_no_ratio_but_l0_does(tmp_path):
    values = ratios(compare([both(tmp_path / "run", alive_definition="ever")]))
    assert values["alive at equal ce_increase"] is None and values["ce_increase at equal alive"] is None
    assert values["l0 at equal ce_increase"] == pytest.approx(0.5)


def test_ranges_that_do_not_overlap_are_refused_with_the_ranges(tmp_path):
    entries = [entry("local", *v) for v in LOCAL] + [entry("e2e", 5, 50, 0.05), entry("e2e", 10, 60, 0.01)]
    found = compare([write_run(tmp_path / "run", entries)])
    assert all(value is None for value in ratios(found).values())
    assert "'local' spans 0.1 to 0.4, 'e2e' spans 0.01 to 0.05" in found.sentences[0]


def test_missing_and_negative_losses_are_said(tmp_path):
    entries = [entry("local", *v) for v in LOCAL] + [entry("e2e", 10, 150, 0.4), entry("e2e", 20, 300, None)]
    entries.append(entry("e2e", 70, 700, -0.02))
    found = compare([write_run(tmp_path / "run", entries)])
    assert any("state no ce_increase: run/e2e-20" in w for w in found.warnings)
    assert any("0 or below for run/e2e-70" in w for w in found.warnings)
    assert ratios(found)["ce_increase at equal l0"] is None
    assert ratios(found)["l0 at equal ce_increase"] is not None
    assert "0 or below" not in "".join(found.sentences)


def test_dominated_dictionaries_are_named(tmp_path):
    entries = [entry("local", *v) for v in LOCAL] + [entry("e2e", *v) for v in E2E] + [entry("e2e", 30, 500, 0.5)]
    found = compare([write_run(tmp_path / "run", entries)])
    assert "Off the Pareto front and not used: run/e2e-30." in found.sentences[0]
    assert ratios(found)["l0 at equal ce_increase"] == pytest.approx(0.5)


def test_without_a_reference_there_is_a_warning_and_no_ratio(tmp_path):
    found = compare([write_run(tmp_path / "run", [entry("e2e", *v) for v in E2E])])
    assert found.findings == () and any("objective 'local' matches e2e" in w for w in found.warnings)


def test_numbers_only_the_scores_hold_are_read(tmp_path):
    run = write_run(tmp_path / "run", [entry("local", None, 5, 0.1)])
    (run / "scores.json").write_text(json.dumps({"local-None": {"l0": 7.5, "tokens": 10}}))
    assert compare([run]).rows[0].l0 == 7.5


def test_runs_that_cannot_be_read_are_named_together(tmp_path):
    (tmp_path / "empty").mkdir()
    broken = write_run(tmp_path / "broken", [entry("local", 1, 2, 3)])
    (broken / "summary.json").write_text("{")
    with pytest.raises(RunError, match=r"(?s)empty has no summary.json.*broken.*not valid JSON"):
        compare([tmp_path / "empty", broken])
    with pytest.raises(RunError, match="no run given"):
        compare([])


def test_words_in_the_place_of_numbers_are_refused_together(tmp_path):
    run = write_run(tmp_path / "run", [entry("local", 1, 2, 3) | {"l0": "many", "kl": True}])
    with pytest.raises(RunError, match=r"(?s)'l0' of 'local-1' is 'many'.*'kl' of 'local-1' is True"):
        compare([run])


def test_json_and_text_hold_everything(tmp_path):
    found = compare([both(tmp_path / "run", tokens=500)])
    value = json.loads(json.dumps(found.to_json(), allow_nan=False))
    assert value["groups"][0]["fronts"]["l0"][0] == {"cost": 20, "loss": 0.4, "name": "run/local-20"}
    assert value["findings"][0]["ratio"] == pytest.approx(0.5) and len(value["findings"][0]["at"]) == 20
    assert value["rows"][0]["name"] == "local-20" and value["warnings"]
    text = found.to_text()
    assert "run/local-20" in text and "Warnings" in text and "\x1b" not in text
    assert max(map(len, text.splitlines())) <= 120
