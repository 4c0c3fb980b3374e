"""Reading an index, also one that is missing, unfinished, broken or hostile."""

from __future__ import annotations

import shutil

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pellucid.core import files
from pellucid.core.errors import ConfigError, FileFormatError, RunError
from pellucid.features.index import EXAMPLES, LATENTS, Index


@pytest.fixture
def copied(tiny, tmp_path):
    """A copy of the tiny run, to break."""
    shutil.copytree(tiny.run, tmp_path / "copy")
    return tmp_path / "copy"


def change(run, **values):
    path = run / "index" / "manifest.json"
    files.write_json(path, files.read_json(path) | values)


def test_one_latent_is_its_row_of_the_table(tiny):
    assert tiny.index.dictionaries == ["relu", "topk"]
    for name in tiny.index.dictionaries:
        table = tiny.index.latents(name)
        assert table.schema.names == LATENTS.names and [f.type for f in table.schema] == [f.type for f in LATENTS]
        examples = pq.read_table(tiny.index.path(name, "examples.parquet"))
        assert [f.type for f in examples.schema] == [f.type for f in EXAMPLES]
        key = [(row["latent"], row["quantile"], row["rank"]) for row in examples.to_pylist()]
        assert key == sorted(key) and len(set(key)) == len(key)
        for i, row in enumerate(table.to_pylist()):
            assert tiny.index.latent(name, i) == row
            assert len(tiny.index.examples(name, i)) == sum(latent == i for latent, _, _ in key)
    assert tiny.index.latents("topk", ["latent", "max"]).column_names == ["latent", "max"]


def test_what_is_not_there_is_named(tiny):
    for ask in (lambda: tiny.index.latent("topk", 40), lambda: tiny.index.examples("topk", -1)):
        with pytest.raises(ConfigError, match="latents 0 to 39, asked for"):
            ask()
    with pytest.raises(ConfigError, match=r"no dictionary 'topc', only \['relu', 'topk'\]\. Did you mean 'topk'"):
        tiny.index.latents("topc")
    with pytest.raises(ConfigError, match=r"no column 'maks'\. Did you mean 'max'"):
        tiny.index.latents("topk", ["maks"])


def test_a_run_without_index_says_how_to_make_one(tmp_path):
    with pytest.raises(RunError, match=r"has no index .* Make one with 'pellucid index "):
        Index.open(tmp_path)


def test_an_unfinished_index_is_refused(copied):
    change(copied, finished=False)
    with pytest.raises(RunError, match=r"not finished.* it goes on where it was"):
        Index.open(copied)


def test_an_index_of_other_weights_is_refused(copied):
    path = copied / "dictionaries" / "topk" / "config.json"
    files.write_json(path, files.read_json(path) | {"weights_sha256": "0" * 64})
    with pytest.raises(RunError, match=r"out of date.*--replace.*\n.*'topk' has other weights"):
        Index.open(copied)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"version": 2}, "format version 2"),
        ({"format": "other"}, "not the config of a index"),
        ({"surprise": 1}, "surprise"),
        ({"dictionaries": {"../../etc": {"site": "x", "n_latents": 3, "weights_sha256": ""}}}, "wanted the name of a folder"),
    ],
)
def test_a_manifest_that_does_not_fit_is_refused(copied, values, words):
    change(copied, **values)
    with pytest.raises(FileFormatError, match=words):
        Index.open(copied)


@pytest.mark.parametrize("file", ["latents.parquet", "examples.parquet"])
@pytest.mark.parametrize("how", ["cut", "noise", "gone", "middle"])
def test_a_broken_table_is_named(copied, file, how):
    path = copied / "index" / "topk" / file
    whole = path.read_bytes()
    if how == "gone":
        path.unlink()
    else:
        middle = whole[:4] + b"\xff" * (len(whole) // 2) + whole[4 + len(whole) // 2 :]
        path.write_bytes({"cut": whole[: len(whole) // 2], "noise": b"PAR1" + b"\0" * 99, "middle": middle}[how])
    index = Index.open(copied)
    assert index.latent("relu", 1)["firings"] > 0  # the others can be read
    with pytest.raises(FileFormatError, match=rf"(?s)topk/{file}.* Make the index again"):
        index.latent("topk", 3) if file == "latents.parquet" else index.examples("topk", 3)


def test_another_table_is_refused_with_everything_that_differs(copied):
    path = copied / "index" / "topk" / "latents.parquet"
    table = pq.read_table(path).drop_columns(["mean"])
    table = table.set_column(table.schema.get_field_index("max"), "max", pa.array(["a"] * len(table)))
    pq.write_table(table.slice(0, 30), path)
    with pytest.raises(FileFormatError) as error:
        Index.open(copied).latents("topk")
    for words in ("'mean' is missing", "'max' holds string, wanted float", "it has 30 rows, wanted one for each of 40"):
        assert words in str(error.value)
