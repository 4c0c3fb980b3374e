from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from pellucid.core.errors import DataError
from pellucid.data import TextConfig, load_text
from pellucid.data.packing import pack, shuffle_key, split

CONTEXT = 16


def load(path, tokenizer, **settings):
    return load_text(TextConfig(source=str(path), **{"context": CONTEXT, **settings}), tokenizer)


def rows(data, part) -> torch.Tensor:
    if part == "train":
        return data.train_rows(torch.arange(data.n_train)).inputs["input_ids"]
    return torch.cat([batch.inputs["input_ids"] for batch in data.held_out_batches(7)])


def write_rows(path, texts):
    path.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    return path


def naive_rows(texts, tokenizer, separator):
    stream = []
    for text in texts:
        for word in text.split():
            stream.append(tokenizer.convert_tokens_to_ids(word))
        if separator is not None:
            stream.append(separator)
    found = []
    while len(stream) >= CONTEXT:
        found.append(stream[:CONTEXT])
        stream = stream[CONTEXT:]
    return found, len(stream)


@pytest.mark.parametrize(
    ("tokens", "setting", "separator"),
    [
        ({}, "auto", "<eos>"),
        ({"eos": None, "bos": "<bos>"}, "auto", "<bos>"),
        ({"eos": None}, "auto", None),
        ({"bos": "<bos>"}, "bos", "<bos>"),
        ({}, "none", None),
    ],
)
def test_packing_equals_a_naive_loop(corpus, corpus_file, make_tokenizer, tokens, setting, separator):
    tokenizer = make_tokenizer(**tokens)
    data = load(corpus_file, tokenizer, separator=setting, held_out=0.2, seed=3)
    order = sorted(corpus, key=lambda text: shuffle_key(3, np.array(tokenizer.convert_tokens_to_ids(text.split()))))
    identity = None if separator is None else tokenizer.convert_tokens_to_ids(separator)
    described = data.describe()
    for part, texts in (("train", order[8:]), ("held_out", order[:8])):
        wanted, dropped = naive_rows(texts, tokenizer, identity)
        assert rows(data, part).tolist() == wanted
        assert described[f"tokens_dropped_{part}"] == dropped
        assert described[f"tokens_{part}"] == len(wanted) * CONTEXT
        assert described[f"rows_{part}"] == len(wanted)
    assert described["separator"] == separator


def test_no_held_out_window_stands_in_a_training_document(corpus, tmp_path, tokenizer):
    repeated = corpus + corpus[::2] + [f"  {text}\n" for text in corpus[::3]]
    data = load(write_rows(tmp_path / "r.jsonl", repeated), tokenizer, held_out=0.3, seed=1)
    train, held_out = (rows(data, part) for part in ("train", "held_out"))
    special = set(tokenizer.all_special_ids)
    # each word stands once in the corpus, so one shared word would be a leak
    assert not set(train.flatten().tolist()) & set(held_out.flatten().tolist()) - special
    stream = train.flatten().tolist()
    seen = {tuple(stream[place : place + 16]) for place in range(len(stream) - 15)}
    assert not any(tuple(row) in seen for row in held_out.tolist())
    assert data.describe()["documents_repeated"] == len(repeated) - len(corpus)
    assert data.describe()["documents"] == 40 and data.describe()["documents_held_out"] == 12


def test_documents_that_differ_in_text_but_not_in_tokens_are_repeats(tmp_path, tokenizer):
    texts = [f"w1 w2 w3 w{n} other{m}" for n in range(10) for m in range(3)]
    data = load(write_rows(tmp_path / "r.jsonl", texts), tokenizer, context=4)
    assert data.describe()["documents"] == 10 and data.describe()["documents_repeated"] == 20


def test_empty_documents_are_counted(tmp_path, corpus, tokenizer):
    data = load(write_rows(tmp_path / "r.jsonl", ["", *corpus, "  \n"]), tokenizer)
    assert data.describe()["documents_empty"] == 2 and data.describe()["documents"] == 40


def test_order_of_the_source_changes_nothing(tmp_path, corpus, corpus_file, tokenizer):
    turned = load(write_rows(tmp_path / "r.jsonl", corpus[::-1]), tokenizer)
    for part in ("train", "held_out"):
        assert torch.equal(rows(turned, part), rows(load(corpus_file, tokenizer), part))


def test_the_seed_decides_split_rows_and_digest(corpus_file, tokenizer):
    first, again, other = (load(corpus_file, tokenizer, seed=seed) for seed in (0, 0, 1))
    assert first.digest() == again.digest() and first.describe() == again.describe()
    assert torch.equal(first.train_batch(5, 6).inputs["input_ids"], again.train_batch(5, 6).inputs["input_ids"])
    assert first.digest() != other.digest()
    assert set(rows(first, "held_out").flatten().tolist()) != set(rows(other, "held_out").flatten().tolist())
    assert not torch.equal(first.train_batch(0, 6).inputs["input_ids"], other.train_batch(0, 6).inputs["input_ids"])


def test_the_digest_sees_tokens_and_settings(tmp_path, corpus, tokenizer):
    path = write_rows(tmp_path / "r.jsonl", corpus)
    first = load(path, tokenizer)
    assert load(path, tokenizer, exclude_first=2).digest() != first.digest()
    write_rows(path, [corpus[0].replace("w0 ", "w5999 "), *corpus[1:]])
    assert load(path, tokenizer).digest() != first.digest()


def test_labels_are_the_next_tokens(corpus_file, tokenizer):
    batch = load(corpus_file, tokenizer).train_batch(0, 5)
    ids = batch.inputs["input_ids"]
    assert ids.shape == batch.labels.shape == batch.keep.shape == (5, CONTEXT)
    assert ids.dtype == batch.labels.dtype == torch.int64
    for row in range(5):
        for place in range(CONTEXT):
            wanted = -100 if place == CONTEXT - 1 else ids[row, place + 1]
            assert batch.labels[row, place] == wanted


@pytest.mark.parametrize("first", [0, 1, 3])
def test_keep_leaves_out_first_positions_and_special_tokens(corpus_file, tokenizer, first):
    data = load(corpus_file, tokenizer, exclude_first=first)
    batch = data.train_rows(torch.arange(data.n_train))
    special = set(tokenizer.all_special_ids)
    excluded = 0
    for row, keep in zip(batch.inputs["input_ids"].tolist(), batch.keep.tolist(), strict=True):
        assert keep == [place >= first and token not in special for place, token in enumerate(row)]
        excluded += any(token in special for token in row[first:])
    assert excluded > 0


def test_the_sentence_on_excluded_positions_counts_them(corpus_file, tokenizer):
    data = load(corpus_file, tokenizer, exclude_first=1)
    batches = list(data.held_out_batches(5))
    total, kept = (
        sum(int(t.sum()) for t in ts) for ts in ([torch.ones_like(b.keep) for b in batches], [b.keep for b in batches])
    )
    assert data.excluded().startswith("the first position of every row and every special token")
    assert f"({total - kept} of {total} held-out positions)" in data.excluded()
    assert "the first 2 positions" in load(corpus_file, tokenizer, exclude_first=2).excluded()
    json.dumps(data.describe())


def test_each_epoch_visits_each_row_once(corpus_file, tokenizer):
    data = load(corpus_file, tokenizer)
    seen = data.train_batch(0, data.n_train).inputs["input_ids"]
    assert sorted(seen.tolist()) == sorted(rows(data, "train").tolist())
    assert seen.tolist() != rows(data, "train").tolist()


def test_nothing_held_out_on_request(corpus_file, tokenizer):
    data = load(corpus_file, tokenizer, held_out=0)
    assert data.n_held_out == 0 and data.describe()["documents_held_out"] == 0
    with pytest.raises(DataError, match="no row is held out"):
        data.held_out_batches(4)


def test_long_documents_raise_no_warning(tmp_path, make_tokenizer, caplog):
    tokenizer = make_tokenizer()
    tokenizer.model_max_length = 20
    load(write_rows(tmp_path / "r.jsonl", [" ".join(f"w{n + place}" for place in range(100)) for n in range(9)]), tokenizer)
    assert not caplog.records


def test_split_keeps_at_least_one_document_on_each_side():
    documents = [np.array([n], dtype=np.int32) for n in range(10)]
    for share, n in ((0.0, 0), (0.01, 1), (0.25, 2), (0.5, 5), (0.99, 9)):
        train, held_out = split(documents, share, seed=0)
        assert len(held_out) == n and sorted(int(d[0]) for d in train + held_out) == list(range(10))


@pytest.mark.parametrize("seed", range(5))
def test_split_never_parts_a_family(seed):
    documents = [np.array([n], dtype=np.int32) for n in range(30)]
    families = ["" if n < 10 else f"family {n % 5}" for n in range(30)]
    train, held_out = split(documents, 0.3, seed, families)
    numbers = [{int(d[0]) for d in part} for part in (train, held_out)]
    assert sorted(numbers[0] | numbers[1]) == list(range(30)) and 1 <= len(numbers[1]) <= 9
    assert not {families[n] for n in numbers[0] if families[n]} & {families[n] for n in numbers[1] if families[n]}


def test_split_holds_out_the_smallest_family_if_none_fits():
    documents = [np.array([n], dtype=np.int32) for n in range(10)]
    _, held_out = split(documents, 0.1, 0, ["large"] * 7 + ["small"] * 3)
    assert sorted(int(d[0]) for d in held_out) == [7, 8, 9]


def test_packing_nothing_gives_no_row():
    packed, dropped = pack([], 8, None)
    assert packed.shape == (0, 8) and dropped == 0


def test_tokens_text_gives_every_piece(corpus_file, tokenizer):
    data = load(corpus_file, tokenizer)
    batch = data.train_batch(0, 2)
    pieces = data.tokens_text(batch)
    assert pieces == [tokenizer.convert_ids_to_tokens(row) for row in batch.inputs["input_ids"].tolist()]


def test_tokens_text_keeps_spaces_and_names_parts_of_characters(tmp_path):
    from tokenizers import Tokenizer, decoders, pre_tokenizers
    from tokenizers.models import BPE
    from transformers import PreTrainedTokenizerFast

    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    inner = Tokenizer(BPE({piece: n for n, piece in enumerate(alphabet)}, []))
    inner.pre_tokenizer, inner.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=inner)
    data = load(write_rows(tmp_path / "r.jsonl", ["a \u00e9", "b c\n"]), tokenizer, context=3, held_out=0.5)
    pieces = [piece for batch in (data.train_batch(0, 1), *data.held_out_batches(1)) for piece in data.tokens_text(batch)[0]]
    assert sorted(pieces) == sorted(
        ["a", " ", "b", " ", "c", tokenizer.convert_ids_to_tokens(tokenizer("\u00e9")["input_ids"][0])]
    )
