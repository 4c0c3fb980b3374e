"""Rebuild the byte-level BPE tokenizer that a GGUF file carries in its metadata."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from pellucid.core.errors import FileFormatError, raise_all
from pellucid.hosts.gguf import GgufFile

if TYPE_CHECKING:
    from tokenizers import Tokenizer

_CONTROL, _USER_DEFINED = 3, 4
_SPECIAL = {"bos_token": "bos", "eos_token": "eos", "pad_token": "padding", "unk_token": "unknown"}
_SINGLE_DIGITS = {"smollm": True, "gpt-2": False, "gpt2": False}
"""How each known `tokenizer.ggml.pre` cuts text: whether every digit stands alone before the byte-level split."""


def save_tokenizer(file: GgufFile, folder: Path) -> None:
    """Write tokenizer.json and tokenizer_config.json to `folder`, with special tokens and chat template.

    Raises FileFormatError if the file has no byte-level BPE tokenizer of a known cut, or a token id is out of range.
    """
    from transformers import PreTrainedTokenizerFast

    meta = file.metadata
    tokens, template = meta["tokenizer.ggml.tokens"], meta.get("tokenizer.chat_template")
    if not isinstance(template, str | None):
        raise FileFormatError(f"{file.path}: the chat template is a {type(template).__name__}, wanted text")
    names = {name: tokens[token] for name, token in special_tokens(file).items()}
    fast = PreTrainedTokenizerFast(
        tokenizer_object=_tokenizer(file),
        model_max_length=meta.get("llama.context_length"),
        clean_up_tokenization_spaces=False,
        **names,
    )
    if template is not None:
        fast.chat_template = template
    fast.save_pretrained(folder)


def special_tokens(file: GgufFile) -> dict[str, int]:
    """Return the ids of `bos_token`, `eos_token`, `pad_token`, `unk_token`, as far as the file names them."""
    n_tokens = len(file.metadata["tokenizer.ggml.tokens"])
    found = {name: file.metadata.get(f"tokenizer.ggml.{key}_token_id") for name, key in _SPECIAL.items()}
    ids = {name: token for name, token in found.items() if token is not None}
    problems = [
        f"{name} has id {token!r}, but there are {n_tokens} tokens"
        for name, token in ids.items()
        if not isinstance(token, int) or not 0 <= token < n_tokens
    ]
    raise_all(problems, FileFormatError, title=f"{file.path}: special tokens are out of range")
    return ids


def _tokenizer(file: GgufFile) -> Tokenizer:
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers

    tokens, merges, kinds = _lists(file)
    model = models.BPE(vocab={token: i for i, token in enumerate(tokens)}, merges=merges)
    tokenizer = Tokenizer(model)
    cuts: list[Any] = [pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)]
    if _SINGLE_DIGITS[file.metadata["tokenizer.ggml.pre"]]:
        # without this cut the spaces before a digit would be grouped differently from how the network was trained
        cuts.insert(0, pre_tokenizers.Digits(individual_digits=True))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(cuts)
    tokenizer.decoder = decoders.ByteLevel()
    added = {kind: [t for t, k in zip(tokens, kinds, strict=True) if k == kind] for kind in (_CONTROL, _USER_DEFINED)}
    tokenizer.add_special_tokens([AddedToken(text, special=True, normalized=False) for text in added[_CONTROL]])
    tokenizer.add_tokens([AddedToken(text, normalized=False) for text in added[_USER_DEFINED]])
    return tokenizer


def _lists(file: GgufFile) -> tuple[list[str], list[tuple[str, str]], list[int]]:
    """Tokens, merges and token kinds, checked against one another."""
    meta = file.metadata
    model, pre = meta.get("tokenizer.ggml.model"), meta.get("tokenizer.ggml.pre")
    tokens: list[str] = meta["tokenizer.ggml.tokens"]
    merges, kinds = meta.get("tokenizer.ggml.merges"), meta.get("tokenizer.ggml.token_type", [1] * len(tokens))
    problems: list[str] = []
    if model != "gpt2":
        problems.append(f"tokenizer model is {model!r}, wanted 'gpt2' (byte-level BPE)")
    if pre not in _SINGLE_DIGITS:
        problems.append(f"tokenizer cut is {pre!r}, wanted one of {sorted(_SINGLE_DIGITS)}")
    if len(set(tokens)) != len(tokens):
        problems.append(f"only {len(set(tokens))} of {len(tokens)} tokens are distinct")
    if not isinstance(kinds, list) or len(kinds) != len(tokens):
        problems.append("token kinds and tokens differ in number")
    pairs = [tuple(str(merge).split(" ")) for merge in merges] if isinstance(merges, list) else []
    vocabulary = set(tokens)
    bad = [pair for pair in pairs if len(pair) != 2 or not {*pair, "".join(pair)} <= vocabulary]
    if not pairs or bad:
        problems.append(f"{len(bad)} of {len(pairs)} merges do not join two tokens into a third, wanted 0 of at least 1")
    raise_all(problems, FileFormatError, title=f"{file.path} has no tokenizer this converter knows")
    return tokens, [(first, second) for first, second in pairs], kinds
