"""A tokenizer made here, one token a word, and a corpus in which no two documents share a word."""

from __future__ import annotations

import pytest
from tests.data.stores import fill, identity, writer

from pellucid.data.store import ActivationStore


def word_tokenizer(eos: str | None = "<eos>", bos: str | None = None, words: int = 6000):
    from tokenizers import Tokenizer
    from tokenizers.models import WordLevel
    from tokenizers.pre_tokenizers import WhitespaceSplit
    from transformers import PreTrainedTokenizerFast

    special = [token for token in ("<unk>", eos, bos) if token]
    vocabulary = {word: index for index, word in enumerate([*special, *(f"w{number}" for number in range(words))])}
    inner = Tokenizer(WordLevel(vocabulary, unk_token="<unk>"))
    inner.pre_tokenizer = WhitespaceSplit()
    named = {name: token for name, token in (("eos_token", eos), ("bos_token", bos)) if token}
    return PreTrainedTokenizerFast(tokenizer_object=inner, unk_token="<unk>", **named)


@pytest.fixture(scope="session")
def make_tokenizer():
    return word_tokenizer


@pytest.fixture(scope="session")
def tokenizer():
    return word_tokenizer()


@pytest.fixture(scope="session")
def corpus() -> list[str]:
    """40 documents of 41 to 80 words, each word of the corpus in one place only, over several lines and paragraphs."""
    texts, word = [], 0
    for number in range(40):
        words = [f"w{word + place}" for place in range(41 + number)]
        word += len(words)
        texts.append("\n\n".join("\n".join((" ".join(words[:9]), " ".join(words[9:20]), " ".join(words[20:]))).split("\n", 1)))
    return texts


@pytest.fixture
def corpus_file(tmp_path, corpus):
    """The corpus as JSON lines."""
    import json

    path = tmp_path / "corpus.jsonl"
    path.write_text("".join(json.dumps({"text": text, "number": n}) + "\n" for n, text in enumerate(corpus)))
    return path


@pytest.fixture
def store(tmp_path):
    """A finished store of six shards."""
    fill(writer(tmp_path / "s")).close(finish=True)
    return ActivationStore(tmp_path / "s", identity())
