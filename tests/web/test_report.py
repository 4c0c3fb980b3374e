"""The pages: well-formed, offline, escaped, and whole without the pieces a run lacks."""

from __future__ import annotations

import json
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path

import pytest

from pellucid.core.errors import RunError
from pellucid.evaluation.compare import compare
from pellucid.web.rendering import flat
from pellucid.web.report import write_comparison, write_report

VOID = {"meta", "input", "br", "hr", "img", "link"}


class Page(HTMLParser):
    """Checks nesting while it collects what a test asks about."""

    def __init__(self, path: Path) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.html = path.read_text(encoding="utf-8")
        self.feed(self.html)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open and self.open[-1] == tag, f"</{tag}> closes {self.open[-3:]}"
        self.open.pop()

    def handle_data(self, data):
        if not {"script", "style"} & set(self.open):
            self.words.append(data)

    @property
    def text(self) -> str:
        return re.sub(r"\s+", " ", "".join(self.words))


def test_the_report_is_well_formed_and_has_every_part(run):
    path = write_report(run)
    assert path == run / "report.html"
    page = Page(path)
    sections = [attributes.get("id") for tag, attributes in page.tags if tag == "section"]
    assert sections == ["trade-off", "scores", "training", "density", "downstream", "features", "provenance"]
    links = [attributes["href"] for tag, attributes in page.tags if tag == "a"]
    assert links == [f"#{name}" for name in sections]
    assert sum(tag == "svg" for tag, _ in page.tags) > 8
    assert "Left out" not in page.text
    for words in (
        "e2e needs 0.5 times the active latents (L0) of local",
        "Position 0 only.",
        "once in 5,000",
        "11.500",
        "2026-11-20",
    ):
        assert words in page.text


def test_pages_ask_for_nothing_outside_themselves(run, tmp_path):
    other = shutil.copytree(run, tmp_path / "other")
    for path in (write_report(run, [other]), write_comparison(compare([run, other]), tmp_path / "page.html")):
        page = Page(path)
        for tag, attributes in page.tags:
            assert tag not in {"link", "iframe", "img", "object", "embed", "base", "form"}
            assert "src" not in attributes and "srcset" not in attributes
            assert (attributes.get("href") or "#").startswith("#")
        assert "//" not in re.sub(r"(?m)^\s*// .*$", "", page.html).replace("<!--", "")
        assert "@import" not in page.html and "url(" not in page.html and "fetch(" not in page.html
        policy = next(a["content"] for t, a in page.tags if t == "meta" and a.get("http-equiv") == "Content-Security-Policy")
        assert policy and policy.startswith("default-src 'none'")


def test_hostile_texts_are_shown_and_never_run(run):
    page = Page(write_report(run))
    assert sum(tag == "script" for tag, _ in page.tags) == 1
    assert page.html.count("<script>") == 1
    assert page.text.count("<script>alert(1)</script>") > 10
    assert "<U+202E>" in page.text and "\u202e" not in page.html
    assert not any(name.startswith("on") for _, attributes in page.tags for name in attributes)


def test_example_tokens_carry_their_exact_value_and_the_peak(run):
    page = Page(write_report(run))
    marked = [attributes for tag, attributes in page.tags if tag == "i"]
    assert [(a["class"], a["title"]) for a in marked] == [("h9 peak", "2.5"), ("h5", "1.25")]
    card = next(attributes for tag, attributes in page.tags if tag == "article")
    assert "<script>alert(1)</script>" in (card["data-search"] or "")
    assert "\u00b7a" in page.text and "\u21e5" in page.text


@pytest.mark.parametrize("file", ["scores.json", "metrics.jsonl", "features.json", "provenance.json", "config.yaml"])
def test_a_missing_file_is_a_sentence(run, file):
    (run / file).unlink()
    page = Page(write_report(run))
    sentence = {"scores.json": "the scores hold no densities"}.get(file, f"this run has no {file}")
    assert sentence in page.text


@pytest.mark.parametrize("file", ["metrics.jsonl", "features.json", "provenance.json"])
def test_a_malformed_file_is_a_sentence_that_names_it(run, file):
    (run / file).write_text('{"a": \n')
    text = Page(write_report(run)).text
    assert f"Left out: {run}/{file}" in text


def test_malformed_densities_are_a_sentence(run):
    scores = json.loads((run / "scores.json").read_text())
    scores["local-0"]["density"]["counts"] = [1]
    scores["local-0"]["downstream_mse"] = [1]
    (run / "scores.json").write_text(json.dumps(scores))
    text = Page(write_report(run)).text
    assert "4 edges for 1 counts" in text and "'downstream_mse' of 'local-0' is not an object of numbers" in text


def test_a_bare_run_has_a_report(tmp_path):
    (tmp_path / "summary.json").write_text(json.dumps({"dictionaries": [{"name": "a"}]}))
    text = Page(write_report(tmp_path)).text
    assert "1 dictionary at not stated of a host not stated" in text
    assert "does not say which positions were excluded" in text
    assert "No dictionary states both active latents (L0) and CE increase" in text


def test_a_folder_without_a_summary_is_refused(tmp_path):
    with pytest.raises(RunError, match=r"has no summary.json"):
        write_report(tmp_path)


def test_a_metrics_line_cut_short_is_left_out_and_said(run):
    with (run / "metrics.jsonl").open("a") as file:
        file.write('{"step": 9, "tok')
    assert "The last logged line was cut short" in Page(write_report(run)).text


def test_hosts_without_labels_are_compared_by_kl(run):
    summary = json.loads((run / "summary.json").read_text())
    for entry in summary["dictionaries"]:
        entry["ce_increase"] = None
    (run / "summary.json").write_text(json.dumps(summary))
    assert "At equal KL, e2e needs 0.5 times" in Page(write_report(run)).text


def test_a_comparison_names_its_runs_and_warnings(run, tmp_path):
    other = shutil.copytree(run, tmp_path / "other")
    summary = json.loads((other / "summary.json").read_text())
    (other / "summary.json").write_text(json.dumps(summary | {"host": "another"}))
    page = Page(write_comparison(compare([run, other]), tmp_path / "page.html"))
    assert "run, other" in page.text and "Hosts differ: tiny for run; another for other." in page.text
    assert "Comparison of 2 runs" in page.text
    assert "Comparison of 1 run " in Page(write_comparison(compare([run]), tmp_path / "page.html")).text + " "


def test_a_lone_surrogate_in_a_name_does_not_stop_the_report(run):
    summary = json.loads((run / "summary.json").read_text())
    summary["dictionaries"][0]["name"] = "\ud800"
    (run / "summary.json").write_text(json.dumps(summary))
    assert "<U+D800>" in Page(write_report(run)).text


def test_nested_provenance_is_flattened():
    assert flat({"a": {"b": [1, 2]}, "c": None, "d": [{"e": 1}]}) == [("a.b", "1 2"), ("c", "not stated"), ("d.0.e", "1")]
