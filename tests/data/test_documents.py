from __future__ import annotations

import json

import pytest

from pellucid.core.errors import DataError
from pellucid.data import TextConfig, documents, load_text
from pellucid.data.documents import find_kind


def texts(source, **settings) -> list[str]:
    return [document.text for document in documents(TextConfig(source=str(source), **settings))]


def parquet_file(path, corpus, field="text"):
    import pyarrow
    import pyarrow.parquet

    table = pyarrow.table({"number": list(range(len(corpus))), field: corpus})
    pyarrow.parquet.write_table(table, path, row_group_size=7)
    return path


def saved(path, corpus, split=None):
    import datasets

    rows = datasets.Dataset.from_dict({"text": corpus})
    (rows if split is None else datasets.DatasetDict({split: rows})).save_to_disk(path)
    return path


def folder(path, corpus):
    for number, text in enumerate(corpus):
        file = path / f"part{number % 3}" / f"{number:02}.txt"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text + "\n")
    return path


WRITERS = {
    "marked.txt": lambda path, corpus: path.write_text("<|endoftext|>".join(corpus)),
    "fed.txt": lambda path, corpus: path.write_text("\n\f\n".join(corpus)),
    "windows.txt": lambda path, corpus: path.write_bytes(b"\xef\xbb\xbf" + "\f".join(corpus).replace("\n", "\r\n").encode()),
    "lines.jsonl": lambda path, corpus: path.write_text("\n\n".join(json.dumps({"text": text}) for text in corpus)),
    "rows.parquet": parquet_file,
    "folder": folder,
    "saved": saved,
    "saved_splits": lambda path, corpus: saved(path, corpus, split="train"),
}


@pytest.mark.parametrize("name", list(WRITERS))
def test_the_same_documents_give_the_same_tokens_in_every_form(name, tmp_path, corpus, corpus_file, tokenizer):
    WRITERS[name](tmp_path / name, corpus)
    assert sorted(texts(tmp_path / name)) == sorted(corpus)
    want, found = (load_text(TextConfig(source=str(path), context=16), tokenizer) for path in (corpus_file, tmp_path / name))
    for step in range(3):
        assert want.train_batch(step, 8).inputs["input_ids"].equal(found.train_batch(step, 8).inputs["input_ids"])
    for first, second in zip(want.held_out_batches(4), found.held_out_batches(4), strict=True):
        assert first.inputs["input_ids"].equal(second.inputs["input_ids"])


@pytest.mark.parametrize("name", ["lines.jsonl", "rows.parquet", "marked.txt", "saved"])
def test_sources_with_an_order_keep_it_and_stop_at_max_documents(name, tmp_path, corpus):
    WRITERS[name](tmp_path / name, corpus)
    assert texts(tmp_path / name) == corpus
    assert texts(tmp_path / name, max_documents=11) == corpus[:11]


def test_a_text_field_by_another_name(tmp_path, corpus):
    path = parquet_file(tmp_path / "rows.parquet", corpus, field="content")
    assert texts(path, text_field="content") == corpus


def test_a_split_by_another_name(tmp_path, corpus):
    path = saved(tmp_path / "saved", corpus, split="validation")
    assert texts(path, split="validation") == corpus
    with pytest.raises(DataError, match=r"no split 'train'; its splits: validation"):
        texts(path)


def test_unmarked_text_is_cut_between_paragraphs_and_loses_nothing(tmp_path):
    paragraphs = [f"  paragraph {number}\n" + "word " * 60 + "end" for number in range(40)]
    path = tmp_path / "long.txt"
    path.write_text("\n\n".join(paragraphs))
    found = texts(path)
    assert len(found) > 4
    assert "\n\n".join(found).split() == "\n\n".join(paragraphs).split()
    assert all(text.startswith("paragraph") and text.endswith("end") for text in found)
    assert all(2000 <= len(text) + 10 <= 2500 for text in found[:-1])


def test_text_without_blank_lines_is_cut_at_line_ends(tmp_path):
    path = tmp_path / "lines.txt"
    path.write_text("\n".join(f"line {number} of many" for number in range(1000)))
    found = texts(path)
    assert len(found) > 3
    assert "\n".join(found) == path.read_text()


def test_a_folder_reads_every_known_kind_and_skips_hidden_and_unknown_files(tmp_path):
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "two.jsonl").write_text('{"text": "two"}\n{"text": "three"}\n')
    (tmp_path / "a.md").write_text("one\n\n\f still one")
    (tmp_path / "README").write_text("zero")
    (tmp_path / "image.png").write_bytes(b"\xff\xfe")
    (tmp_path / "program").write_bytes(b"\x7fELF\xff")
    (tmp_path / ".git").mkdir()
    (tmp_path / ".git" / "note.txt").write_text("hidden")
    parquet_file(tmp_path / "c.parquet", ["four"])
    assert texts(tmp_path) == ["zero", "one\n\n\f still one", "two", "three", "four"]


def test_links_to_folders_are_not_followed(tmp_path):
    (tmp_path / "a.txt").write_text("one")
    (tmp_path / "loop").symlink_to(tmp_path)
    assert texts(tmp_path) == ["one"]


def test_line_separators_inside_a_json_string_do_not_end_the_line(tmp_path):
    path = tmp_path / "rows.jsonl"
    path.write_text(json.dumps({"text": "one\u2028two\x85three"}, ensure_ascii=False) + "\n")
    assert texts(path) == ["one\u2028two\x85three"]


@pytest.mark.parametrize(
    ("source", "kind"), [("python-docs", "built-in text"), ("hf:user/name", "hub data set"), ("hub:name", "hub data set")]
)
def test_names_decide_the_kind(source, kind):
    assert find_kind(source).name == kind


def test_a_path_named_like_the_built_in_text_needs_its_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "notes.txt").write_text("here")
    assert texts("notes.txt") == ["here"]
    assert texts("./notes.txt") == ["here"]
