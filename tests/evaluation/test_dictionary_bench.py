"""The benchmark of dictionaries: what is tried, how scores are read at equal L0, and what its page says."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from pellucid.core.errors import ConfigError, RunError
from pellucid.core.files import read_json, write_json
from pellucid.dictionaries import ARCHITECTURES
from pellucid.evaluation.bench import DictionaryBenchOptions
from pellucid.evaluation.bench.beds import BEDS, EASIEST, HOST, make_bed
from pellucid.evaluation.bench.cell import run_cell
from pellucid.evaluation.bench.excluded import excluded
from pellucid.evaluation.bench.findings import findings
from pellucid.evaluation.bench.run import bench_dictionaries, write_results
from pellucid.evaluation.bench.table import entry, winners
from pellucid.evaluation.bench.tuning import config_of, distinct, first_round, interpolated, second_round

QUICK = DictionaryBenchOptions(quick=True)


def row(setting: str, l0: float, fvu: float, **more: float) -> dict[str, Any]:
    return {"setting": setting, "l0": l0, "fvu": fvu, **more}


def cell(kind: str, settings: list[dict[str, Any]], bed: str = EASIEST) -> dict[str, Any]:
    stability = {"matched": 0.9, "mmcs": 0.9, "shared": 0.9}
    seeds = [settings[0], {**settings[0], "mcs": settings[0]["mcs"] - 0.02}]
    return {"architecture": kind, "bed": bed, "settings": settings, "seeds": seeds, "stability": stability}


@pytest.mark.parametrize("bed", [EASIEST, "interference"])
def test_every_architecture_is_tried_at_as_many_settings_or_left_out_for_a_reason(bed):
    place = make_bed(bed, QUICK)
    for kind in ARCHITECTURES:
        if excluded(kind, bed, guided=False):
            continue
        first = first_round(kind, place)
        rest = second_round(kind, place, [(setting.value, 2.0 * (i + 1)) for i, setting in enumerate(first)])
        assert len(first) + len(rest) == place.levels + len(place.refined), kind
        assert len({(s.lr, str(s.architecture)) for s in first}) == len(first), kind
        for setting in (*first, *rest):
            assert config_of(setting).n_latents == place.n_latents
    assert sum(excluded(kind, HOST, guided=True) is None for kind in ARCHITECTURES) >= len(ARCHITECTURES) - 2
    assert "backward pass" in (excluded("gradient", HOST, guided=False) or "")


def test_a_setting_is_read_off_between_its_neighbours_and_whole_numbers_stay_apart():
    assert interpolated([(1.0, 8.0), (4.0, 2.0)], 4.0) == pytest.approx(2.0)
    assert interpolated([(1.0, 8.0), (4.0, 2.0)], 1.0) == pytest.approx(16.0), "a factor of 4 beyond the nearest"
    assert distinct([1.5, 1.6, 2.4], whole=True, most=5.0) == [2, 3, 4]
    assert distinct([0.2, 3.0], whole=False, most=0.9) == [0.2, 0.9]


def test_scores_are_interpolated_at_equal_l0_on_the_front_and_never_beyond_it():
    settings = [row("a", 2.0, 0.4, mcs=0.5), row("b", 4.0, 0.2, mcs=0.9), row("c", 3.0, 0.9, mcs=0.1)]
    found = entry(cell("topk", [*settings, row("default", 3.0, 0.3, mcs=0.8)]), 3.0)
    assert found.matched["fvu"] == pytest.approx(0.3) and found.matched["mcs"] == pytest.approx(0.7), "'c' is not on the front"
    assert found.best_mcs == 0.9 and found.default_mcs == 0.8 and found.spread["mcs"] == pytest.approx(0.02)
    short = entry(cell("relu", settings), 9.0)
    assert short.matched == {} and "covers L0 2 to 4, not 9" in short.reach
    wide = entry(cell("p_anneal", [row("a", 0.1, 0.9, mcs=0.1), row("b", 30.0, 0.1, mcs=0.9)]), 3.0)
    assert wide.matched == {} and wide.reach == "no setting between L0 0.1 and 30"
    other = entry(cell("gated", [row("a", 3.0, 0.5, mcs=0.69)]), 3.0)
    assert winners([found, short, other], "mcs") == ["topk", "gated"], "0.69 is within the seeds' range of 0.7"
    assert winners([found, short, other], "fvu") == ["topk"]


def test_published_statements_are_held_refuted_or_not_comparable():
    made = {kind: entry(cell(kind, [row("a", 3.0, fvu, mcs=0.9)]), 3.0) for kind, fvu in (("topk", 0.2), ("batch_topk", 0.3))}
    verdicts = {f.statement: f.verdict for f in findings({EASIEST: made})}
    assert verdicts["BatchTopK explains more than TopK at equal L0 (2412.06410)"] == "not reproduced"
    turned = {**made, "batch_topk": entry(cell("batch_topk", [row("a", 3.0, 0.21, mcs=0.9)]), 3.0)}
    turned["batch_topk"].spread["fvu"] = 0.05
    assert "undecided" in {f.verdict for f in findings({EASIEST: turned})}
    assert verdicts["Matryoshka explains less than BatchTopK (2503.17547)"] == "not comparable"


def test_a_cell_trains_tunes_and_scores_an_architecture_and_its_page_says_so(tmp_path):
    options = QUICK.model_copy(update={"architectures": ("topk",), "beds": ("hierarchy",)})
    bed = replace(make_bed("hierarchy", options), tokens=20 * 64, batch_rows=64, rows=600, levels=2, refined=((2.0, 1.0),))
    folder = tmp_path / "cells" / "hierarchy" / "topk"
    found = run_cell("topk", bed, folder)
    assert found == read_json(folder / "cell.json") and [path.name for path in folder.iterdir()] == ["cell.json"]
    assert [r["setting"] for r in found["settings"]] == ["sparsity0", "sparsity1", "refined0"] and len(found["seeds"]) == 2
    for scores in found["settings"]:
        assert 0 < scores["l0"] <= scores["config"]["k"] and 0 < scores["mcs"] < 1 and 0 <= scores["absorption"] <= 1
    assert found["settings"][0]["lr"] * 2 == found["settings"][2]["lr"] and found["seeds"][0]["fvu"] != found["seeds"][1]["fvu"]
    written = write_results(options, tmp_path)
    page = (tmp_path / "index.html").read_text()
    assert written["finished"] == written["total"] == 1 and written["tables"]["hierarchy"]["topk"]["reach"] in page
    assert "pellucid bench dictionaries --quick --architectures topk --beds hierarchy" in (tmp_path / "results.md").read_text()


def test_a_folder_of_other_settings_and_unknown_names_are_refused(tmp_path):
    with pytest.raises(ConfigError, match=r"(?s)unknown architecture 'topc'. Did you mean 'topk'.*unknown bed 'hots'"):
        bench_dictionaries(DictionaryBenchOptions(architectures=("topc",), beds=("hots",)), tmp_path)
    write_json(tmp_path / "plan.json", {"digest": "other"})
    with pytest.raises(RunError, match="holds a benchmark with other settings"):
        bench_dictionaries(QUICK, tmp_path)
    assert set(BEDS) == {"independent", "hierarchy", "interference", "heavy_tailed", "host"}
