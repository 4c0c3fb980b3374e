"""A tiny Llama, a tokenizer of one word a token, token data and two untrained dictionaries."""

from __future__ import annotations

import pytest
import torch

from pellucid.data import TextConfig, TextCounts, TokenData
from pellucid.dictionaries import ReluConfig, TopKConfig, make_dictionary, save_dictionary

VOCABULARY, CONTEXT, ROWS = 97, 14, 11


def make_tokenizer():
    from tokenizers import Tokenizer
    from tokenizers.models import WordLevel
    from tokenizers.pre_tokenizers import WhitespaceSplit
    from transformers import PreTrainedTokenizerFast

    vocabulary = {word: index for index, word in enumerate(["<unk>", "<eos>", *(f"w{i}" for i in range(VOCABULARY - 4))])}
    inner = Tokenizer(WordLevel(vocabulary, unk_token="<unk>"))
    inner.pre_tokenizer = WhitespaceSplit()
    return PreTrainedTokenizerFast(tokenizer_object=inner, unk_token="<unk>", eos_token="<eos>")


def token_data(rows: torch.Tensor) -> TokenData:
    config = TextConfig(source="made here", context=rows.shape[1], exclude_first=1)
    return TokenData(rows, rows, config, make_tokenizer(), TextCounts(1, 1, 0, 0, rows.numel(), rows.numel(), 0, 0))


@pytest.fixture
def data() -> TokenData:
    """Random rows with an end-of-text token inside some of them; the vocabulary's last two ids name no token."""
    rows = torch.randint(2, VOCABULARY - 2, (ROWS, CONTEXT), generator=torch.Generator().manual_seed(3))
    rows[::3, 5] = 1
    return token_data(rows)


@pytest.fixture
def dictionaries(llama_host):
    """One dictionary at two sites; the starting weights are as good as any here."""
    made = {
        "topk": (TopKConfig(n_latents=40, k=3, bias_init="zeros"), "layers.1"),
        "relu": (ReluConfig(n_latents=24), "layers.3"),
    }
    return {
        name: (make_dictionary(config, 32, torch.Generator().manual_seed(7)), llama_host.site(site))
        for name, (config, site) in made.items()
    }


@pytest.fixture
def run(tmp_path, llama_host, dictionaries):
    """A run folder that holds the dictionaries."""
    for name, (dictionary, site) in dictionaries.items():
        header = {
            "name": name,
            "site": str(site),
            "objective": {"kind": "local"},
            "host": {"name": "llama", "weights_sha256": llama_host.weights_digest(site)},
            "tokens": 0,
        }
        save_dictionary(tmp_path / "dictionaries" / name, dictionary, header)
    return tmp_path
