"""An index that is interrupted, repeated, cut otherwise or refused."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
import torch
from tests.features.conftest import CONTEXT, ROWS
from tests.features.index.conftest import Tiny, make_tiny

from pellucid.core import files, machine
from pellucid.core.errors import ConfigError, DataError, NumericsError, RunError
from pellucid.data import TensorData
from pellucid.features.index import Index, IndexConfig, build_index, neighbours, survey, tables
from pellucid.features.index.ablation import ROUNDS, Ablations, _Round, batches_for_ablation
from pellucid.features.index.build import WORK
from pellucid.features.index.hashes import mixed
from pellucid.features.index.text import IndexedText
from pellucid.features.index.windows import Windows

SMALL = IndexConfig(part="all", batch_rows=3, top=2, per_decile=1, effect_share=0.4)


class Killed(BaseException):
    pass


def indexed(tiny: Tiny, config: IndexConfig = SMALL, **options: bool) -> Index:
    return build_index(tiny.run, tiny.host, tiny.data, config, **options)


def contents(index: Index) -> dict[str, bytes]:
    return {str(path.relative_to(index.folder)): path.read_bytes() for path in index.folder.rglob("*") if path.is_file()}


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> dict[str, bytes]:
    """The files of an index that was not interrupted."""
    return contents(indexed(make_tiny(tmp_path_factory.mktemp("whole") / "run")))


def kill_at(patch: pytest.MonkeyPatch, owner: type, name: str, call: int) -> None:
    """The given call of a method ends the process, as far as Python can."""
    real, calls = getattr(owner, name), iter(range(1000))

    def method(*args, **kwargs):
        if next(calls) == call:
            raise Killed
        return real(*args, **kwargs)

    patch.setattr(owner, name, method)


def test_an_index_that_is_killed_twice_ends_with_the_same_bytes(fresh, whole, monkeypatch):
    monkeypatch.setattr(survey, "SAVE_SECONDS", 0.0)
    with monkeypatch.context() as patch, pytest.raises(Killed):
        kill_at(patch, survey.Survey, "_update", 4)
        indexed(fresh)
    work = fresh.run / "index" / WORK
    assert len(list(work.glob("shard-*"))) == 4
    with pytest.raises(RunError, match="not finished"):
        Index.open(fresh.run)
    # What a kill leaves that no Python code could clean up.
    for left in (work / ".shard-000004.abc", fresh.run / "index" / ".manifest.json.abc"):
        left.mkdir()
        (left / "half").write_text("")
    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(tables, "BLOCK_LATENTS", 16)
        kill_at(patch, Windows, "table", 3)
        indexed(fresh)
    monkeypatch.setattr(tables, "BLOCK_LATENTS", 16)
    runs = []
    monkeypatch.setattr(fresh.host, "run", lambda *args, real=fresh.host.run, **k: runs.append(k) or real(*args, **k))
    made = indexed(fresh)
    assert not [k for k in runs if "prefixes" in k], "the pass was done again"
    assert not work.exists() and not list(made.folder.rglob(".*"))
    again = make_tiny(fresh.run.parent / "again")
    assert contents(indexed(again)) == contents(made)
    assert contents(made).keys() == whole.keys() and contents(made)["manifest.json"] == whole["manifest.json"]


def test_how_the_work_is_cut_changes_nothing_that_is_shown(fresh, whole, monkeypatch, tmp_path):
    monkeypatch.setattr(survey, "MOST_ENTRIES", 1)
    monkeypatch.setattr(tables, "BLOCK_ENTRIES", 100)
    made = indexed(fresh)
    for name, data in whole.items():
        (tmp_path / "index" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "index" / name).write_bytes(data)
    other = Index.open(tmp_path)
    for name in made.dictionaries:
        for one, two in zip(made.latents(name).to_pylist(), other.latents(name).to_pylist(), strict=True):
            # Products of other sizes may round otherwise; everything else has the same bits.
            for column in ("raises_effect", "lowers_effect", "nearest_cosine"):
                assert one.pop(column) == pytest.approx(two.pop(column), rel=1e-4, abs=1e-6)
            assert one == two
        for latent in range(made.n_latents(name)):
            assert made.examples(name, latent) == other.examples(name, latent)


def test_training_rows_are_numbered_after_the_held_out_ones(fresh):
    made = indexed(fresh)
    assert made.manifest["rows"] == 2 * ROWS and made.manifest["held_out_rows"] == ROWS
    rows = {e.row for latent in range(24) for e in made.examples("relu", latent)}
    assert min(rows) < ROWS <= max(rows) < 2 * ROWS
    text = IndexedText(fresh.data, SMALL.model_copy(update={"part": "train", "tokens": CONTEXT + 1}))
    assert (text.first, text.rows) == (ROWS, 2) and list(text.spans(8)) == [(0, 2)]
    assert list(IndexedText(fresh.data, SMALL).spans(8)) == [(0, 8), (8, 11), (11, 19), (19, 22)]


def test_a_finished_index_is_returned_and_another_one_needs_replace(fresh, monkeypatch):
    config = IndexConfig(tokens=3 * CONTEXT, effect_share=0.0)
    first = contents(indexed(fresh, config))
    with monkeypatch.context() as patch:
        patch.setattr(survey.Survey, "run", lambda _: pytest.fail("indexed again"))
        assert contents(indexed(fresh, config)) == first
    with pytest.raises(RunError, match=r"another index:\n.*settings.top: there 10, here 3\n.*--replace"):
        indexed(fresh, config.model_copy(update={"top": 3}))
    changed = indexed(fresh, config.model_copy(update={"top": 3}), replace=True)
    assert changed.manifest["settings"]["top"] == 3 and changed.latent("topk", 0)["effect_kl"] is None


def test_cofiring_is_counted_on_a_sample_where_codes_are_too_many(fresh, monkeypatch):
    monkeypatch.setattr(neighbours, "COFIRING_ENTRIES", 200)
    made = indexed(fresh, IndexConfig(effect_share=0.0)).manifest["dictionaries"]
    assert 0 < made["relu"]["cofiring_positions"] < made["topk"]["cofiring_positions"] < ROWS * CONTEXT


def test_ablations_are_few_and_spread():
    assert batches_for_ablation(0.0, 10, [0.5], 0.5) == set()
    assert batches_for_ablation(0.01, 3, [0.5], 0.5) == {1}
    each = 0.2 + 8 * 0.2
    assert len(batches_for_ablation(0.25, 1000, [0.8], 0.8)) == int(0.25 * 1000 * 0.8 / each)
    assert batches_for_ablation(1e9, 4, [0.5, 0.1], 0.5) == {0, 1, 2, 3}
    codes = _Round(
        *(torch.arange(13) for _ in range(1)), torch.tensor([0] * 10 + [2] * 3), torch.zeros(13).long(), torch.ones(13)
    )
    assert codes.spread(4).tolist() == [2, 4, 7, 9, 10, 11, 12] and len(codes.spread(20)) == 13


def test_latents_are_ablated_on_so_many_rows_at_most_in_the_order_of_their_hash(fresh):
    dictionary, site = fresh.dictionaries["topk"]
    ablations = Ablations(dictionary, site, IndexConfig(effect_rows=2, seed=5))
    rows, latents = np.repeat(np.arange(4), 12), np.tile(np.arange(12), 4)
    chosen = ablations._choose(rows, latents, 5)
    order = np.argsort(mixed(5, np.arange(12)), kind="stable").tolist()
    assert chosen[0].tolist() == chosen[1].tolist() == order[:ROUNDS]
    assert chosen[2, :4].tolist() == order[ROUNDS:] and (chosen[2, 4:] == -1).all() and (chosen[4] == -1).all()


def test_more_text_than_there_is_is_refused(fresh):
    with pytest.raises(ConfigError, match=r"1000000 tokens are asked for, but part 'held_out' has 154.*'all', which has 308"):
        indexed(fresh, IndexConfig(tokens=10**6))


def test_the_verb_takes_its_settings_from_flags(monkeypatch, tiny, capsys):
    from pellucid import job
    from pellucid.cli import main

    asked = []
    monkeypatch.setattr(job, "index", lambda *args, **options: asked.append((args, options)) or tiny.index)
    assert main(["index", "a/run", "--tokens", "99", "--part", "all", "--replace", "--json"]) == 0
    assert str(asked[0][0][0]) == "a/run" and asked[0][1] == {"replace": True}
    assert asked[0][0][1] == IndexConfig(tokens=99, part="all")
    said = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert said["rows"] == ROWS and said["tokens"] == tiny.index.manifest["tokens"]
    shown = sum(len(tiny.index.examples("relu", latent)) for latent in range(24))
    assert said["latents"]["relu"] == {"latents": 24, "firing": 23, "ablated": 23, "examples": shown}
    assert main(["index", "a/run", "--tokens", "99"]) == 0
    printed = capsys.readouterr().out
    assert f"relu: 24 latents, 23 fire, 23 ablated, {shown} examples\n" in printed and "pellucid explore a/run" in printed


def test_what_cannot_be_indexed_is_refused_before_any_work(fresh, monkeypatch, tmp_path):
    no_text = TensorData({"input_ids": torch.zeros(4, 6, dtype=torch.int64)}, held_out=0.5)
    with pytest.raises(DataError, match="no text"):
        build_index(fresh.run, fresh.host, no_text)
    with pytest.raises(RunError, match="no finished dictionary"):
        build_index(tmp_path / "empty", fresh.host, fresh.data)
    with monkeypatch.context() as patch:
        patch.setattr(machine, "available", lambda: 1000)
        with pytest.raises(ConfigError, match=r"MiB beside what is held .* but 0 MiB are available\. Lower batch_rows"):
            indexed(fresh)
    shutil.copytree(fresh.run / "dictionaries" / "topk", fresh.run / "dictionaries" / WORK)
    with pytest.raises(ConfigError, match="named 'work'"):
        indexed(fresh)
    assert not (fresh.run / "index").exists()


def test_a_full_disk_is_refused_after_the_first_batch(fresh, monkeypatch):
    monkeypatch.setattr(survey.shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(10**6, 10**6, 100))
    with pytest.raises(RunError, match=r"would hold about 0 MB .* has 0 MB free\. Index fewer tokens"):
        indexed(fresh)


def test_activations_that_are_not_finite_are_refused(fresh):
    fresh.host.module.model.layers[1].mlp.down_proj.weight.data[0, 0] = torch.inf
    with pytest.warns(UserWarning, match="differ from"), pytest.raises(NumericsError, match=r"'layers\.\S+' are not finite at"):
        indexed(fresh)


def test_a_broken_shard_is_named(fresh, monkeypatch):
    monkeypatch.setattr(survey, "SAVE_SECONDS", 0.0)
    with monkeypatch.context() as patch, pytest.raises(Killed):
        kill_at(patch, survey.Survey, "_update", 2)
        indexed(fresh)
    broken = fresh.run / "index" / WORK / "shard-000001" / "0" / "offsets.npy"
    broken.write_bytes(broken.read_bytes()[:50])
    with pytest.raises(files.FileFormatError, match=r"offsets\.npy cannot be read"):
        indexed(fresh)


def test_hashes_are_uniform_and_depend_on_every_part():
    numbers = np.arange(10_000)
    drawn = mixed(1, numbers, numbers % 7)
    assert len(set(drawn.tolist())) == len(drawn)
    assert abs(float((drawn >> np.uint64(63)).mean()) - 0.5) < 0.02
    for other in (mixed(2, numbers, numbers % 7), mixed(1, numbers, numbers % 5), mixed(1, numbers % 7, numbers)):
        assert (other != drawn).mean() > 0.7
