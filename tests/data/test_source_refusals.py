"""What is refused, and with which words."""

from __future__ import annotations

import builtins
import json
import socket

import pytest

from pellucid.core.config import build
from pellucid.core.errors import ConfigError, DataError
from pellucid.data import TextConfig, documents, load_text


def read(source, **settings):
    return list(documents(TextConfig(source=str(source), **settings)))


def write(path, data):
    path.write_bytes(data if isinstance(data, bytes) else data.encode())
    return path


def test_an_unknown_source_lists_what_was_tried(tmp_path):
    write(tmp_path / "stories.jsonl", "{}")
    with pytest.raises(DataError) as error:
        read(tmp_path / "storys")
    message = str(error.value)
    assert "python-docs" in message and str(tmp_path / "storys") in message and "'hf:" in message
    assert f"nearest in its folder: {tmp_path / 'stories.jsonl'}" in message
    with pytest.raises(DataError, match="neither does its folder"):
        read(tmp_path / "nowhere" / "file.txt")
    with pytest.raises(DataError, match="data source is empty"):
        read("")


def test_a_bare_name_opens_no_socket(monkeypatch):
    def refuse(*_, **__):
        raise AssertionError("a socket was opened")

    monkeypatch.setattr(socket, "socket", refuse)
    monkeypatch.setattr(socket, "create_connection", refuse)
    with pytest.raises(DataError, match="as 'hf:user/name'"):
        read("user/name")


def test_text_that_is_not_utf8_names_file_and_byte(tmp_path):
    path = write(tmp_path / "latin.txt", "caf\xe9".encode("latin-1"))
    with pytest.raises(DataError, match=r"latin\.txt is not UTF-8 text: byte 3 is 0xe9"):
        read(path)
    with pytest.raises(DataError, match=r"latin\.txt is not UTF-8"):
        read(tmp_path)


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ('{"text": "b"', "line 2 is not valid JSON"),
        ("[" * 100_000, "line 2 is not valid JSON"),
        ('["b"]', "line 2 holds a JSON list, wanted an object"),
        ('{"txt": "b", "n": 1}', r"line 2 has no field 'text'; its fields: 'txt', 'n'.*Did you mean 'txt'"),
        ('{"text": null}', "line 2: field 'text' holds NoneType, wanted a string"),
        ('{"text": "\\ud800"}', "line 2: character 0 is half a surrogate pair"),
    ],
)
def test_malformed_json_lines_name_the_line(tmp_path, line, words):
    path = write(tmp_path / "rows.jsonl", '{"text": "a"}\n' + line + "\n")
    with pytest.raises(DataError, match=words):
        read(path)


def test_json_lines_that_are_not_utf8_name_the_line(tmp_path):
    path = write(tmp_path / "rows.jsonl", b'{"text": "a"}\n{"text": "\xff"}\n')
    with pytest.raises(DataError, match="line 2 is not UTF-8 text"):
        read(path)


def test_parquet_without_the_field_lists_its_columns(tmp_path):
    import pyarrow
    import pyarrow.parquet

    path = tmp_path / "rows.parquet"
    pyarrow.parquet.write_table(pyarrow.table({"content": ["a", None], "n": [1, 2]}), path)
    with pytest.raises(DataError, match=r"no field 'text'; its fields: 'content', 'n'"):
        read(path)
    with pytest.raises(DataError, match=r"row 1: field 'content' holds NoneType"):
        read(path, text_field="content")
    with pytest.raises(DataError, match=r"row 0: field 'n' holds int, wanted a string"):
        read(path, text_field="n")


@pytest.mark.parametrize("data", [b"", b"PAR1", b"no parquet at all", b"PAR1" + b"\xff" * 64 + b"PAR1"])
def test_a_broken_parquet_file_is_named(tmp_path, data):
    path = write(tmp_path / "rows.parquet", data)
    with pytest.raises(DataError, match=r"rows\.parquet is not a readable Parquet file"):
        read(path)


def test_unknown_suffixes_and_empty_folders_list_the_known_ones(tmp_path):
    path = write(tmp_path / "data.csv.gz", b"x")
    with pytest.raises(DataError, match=r"end in '\.gz' are not read\. Known suffixes: \.txt, .*\.parquet"):
        read(path)
    with pytest.raises(DataError, match=r"holds nothing to read \(found 1 of '\.gz'\)"):
        read(tmp_path)
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match=r"found no files"):
        read(tmp_path / "empty")


def test_saved_data_sets(tmp_path):
    import datasets

    path = tmp_path / "saved"
    datasets.Dataset.from_dict({"content": ["a"]}).save_to_disk(path)
    with pytest.raises(DataError, match=r"no field 'text'; its fields: 'content'"):
        read(path)
    with pytest.raises(DataError, match="has no splits; remove split"):
        read(path, split="train")
    with pytest.raises(DataError, match=r"subset is 'en', .* remove subset"):
        read(path, subset="en")
    write(path / "state.json", "{}")
    with pytest.raises(DataError, match="not a readable saved data set"):
        read(path)


def test_hub_names(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DataError, match="is no hub name"):
        read("hf:../../etc/passwd")
    (tmp_path / "local").mkdir()
    with pytest.raises(DataError, match="asks for the hub, but local is a path here"):
        read("hf:local")


def test_an_offline_hub_says_so(monkeypatch):
    import datasets

    asked = {}

    def offline(name, subset, **settings):
        asked.update(settings, name=name, subset=subset)
        raise ConnectionError("Couldn't reach it")

    monkeypatch.setattr(datasets, "load_dataset", offline)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(DataError, match=r"not in the cache, and HF_HUB_OFFLINE forbids fetching it \(Couldn't reach it\)"):
        read("hf:user/name", max_documents=3)
    assert asked == {"name": "user/name", "subset": None, "split": "train", "streaming": False}
    monkeypatch.delenv("HF_HUB_OFFLINE")
    with pytest.raises(DataError, match=r"could not be loaded: Couldn't reach it\. Check name, subset"):
        read("hf:user/name", max_documents=3, subset="en", split="test")
    assert asked == {"name": "user/name", "subset": "en", "split": "test", "streaming": True}


def test_hub_rows_are_read_like_any_other(monkeypatch, corpus):
    import datasets

    rows = datasets.Dataset.from_dict({"text": corpus})
    monkeypatch.setattr(datasets, "load_dataset", lambda *_, streaming, **__: rows.to_iterable_dataset() if streaming else rows)
    assert [document.text for document in read("hf:user/name")] == corpus
    assert [document.text for document in read("hub:user/name", max_documents=5)] == corpus[:5]
    with pytest.raises(DataError, match="no field 'content'; its fields: 'text'"):
        read("hf:user/name", text_field="content", max_documents=5)


def test_a_missing_package_says_how_to_install_it(monkeypatch):
    real = builtins.__import__

    def without(name, *rest):
        if name == "datasets":
            raise ImportError(name)
        return real(name, *rest)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(DataError, match="needs the package 'datasets'; install it with: pip install datasets"):
        read("hf:user/name")


def test_settings_that_do_not_apply_are_refused_together(tmp_path):
    path = write(tmp_path / "a.txt", "text")
    with pytest.raises(ConfigError, match=r"(?s)subset is 'en', which does not apply to a file.*split is 'test'"):
        read(path, subset="en", split="test")


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"context": 1}, "context"),
        ({"held_out": 1.0}, "held_out"),
        ({"held_out": -0.1}, "held_out"),
        ({"context": 4, "exclude_first": 4}, "leaves no position of a row of 4 tokens"),
        ({"separator": "dot"}, "separator"),
        ({"sorce": "x"}, "unknown key 'sorce'.*'source'"),
    ],
)
def test_bad_settings(settings, words):
    with pytest.raises(ConfigError, match=words):
        build(TextConfig, settings)


def test_empty_text(tmp_path, tokenizer):
    with pytest.raises(DataError, match="holds no text: 1 documents read, all empty"):
        load_text(TextConfig(source=str(write(tmp_path / "empty.txt", " \n\n "))), tokenizer)


def test_text_too_short_for_a_row_says_what_to_lower(tmp_path, tokenizer):
    path = write(tmp_path / "short.jsonl", "".join(json.dumps({"text": f"w{n} w{n + 9}"}) + "\n" for n in range(4)))
    with pytest.raises(DataError) as error:
        load_text(TextConfig(source=str(path), context=10, held_out=0.25), tokenizer)
    message = str(error.value)
    assert "the training part of" in message and "has 9 tokens in 3 documents, wanted at least 10 for one row" in message
    assert "the held-out part of" in message and "has 3 tokens in 1 documents" in message
    assert "lower context to 3 or less, raise held_out (now 0.25)" in message
    assert load_text(TextConfig(source=str(path), context=3, held_out=0.25), tokenizer).n_held_out == 1


def test_a_single_document_cannot_be_split(tmp_path, tokenizer):
    path = write(tmp_path / "one.txt", "w1 w2 w3 w4")
    with pytest.raises(DataError, match="wanted at least 2 so that one is left to train on"):
        load_text(TextConfig(source=str(path), context=2), tokenizer)
    assert load_text(TextConfig(source=str(path), context=2, held_out=0), tokenizer).n_train == 2


def test_tokenizers_that_do_not_fit(tmp_path, make_tokenizer, corpus_file):
    config = TextConfig(source=str(corpus_file), context=16, separator="bos")
    with pytest.raises(ConfigError, match="the tokenizer has no bos token; set separator to auto or none"):
        load_text(config, make_tokenizer())
    with pytest.raises(ConfigError, match="text needs a tokenizer, but the host has none"):
        load_text(config, None)


def test_text_of_unknown_words_only_leaves_nothing_to_train_on(tmp_path, tokenizer):
    path = write(tmp_path / "other.jsonl", "".join(json.dumps({"text": "x " * n}) + "\n" for n in range(5, 30)))
    with pytest.raises(DataError, match="gives special tokens only"):
        load_text(TextConfig(source=str(path), context=8), tokenizer)
