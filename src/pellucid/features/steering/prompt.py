"""Text typed by a person to tokens, within limits."""

from __future__ import annotations

import torch
from jaxtyping import Int
from torch import Tensor

from pellucid.core.errors import DataError
from pellucid.data.text import token_text
from pellucid.hosts import Host

MAX_TOKENS = 1024
"""Longest prompt, in tokens; its logits for a vocabulary of 49,152 take 200 MB."""
MAX_CHARACTERS = 16 * MAX_TOKENS
"""Longest prompt, in characters: no longer one is handed to the tokenizer at all."""


def tokenize(host: Host, text: str, *, limit: int = MAX_TOKENS) -> Int[Tensor, "1 n"]:
    """Return the tokens of a text, without special tokens added, as the host's training rows have none.

    Raises DataError if the text is empty, longer than `limit` tokens (or MAX_CHARACTERS characters), or the host has no
    tokenizer.
    """
    if host.tokenizer is None:
        raise DataError(f"host '{host.name}' has no tokenizer to read a prompt with; give token ids instead")
    if not text:
        raise DataError("the prompt is empty; give a text of one token or more")
    if len(text) > MAX_CHARACTERS:
        raise DataError(f"the prompt has {len(text):,} characters; the limit is {MAX_CHARACTERS:,}. Shorten it")
    ids = host.tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"]
    if not ids:
        raise DataError("the prompt has no token; give a text of one token or more")
    limit = min(limit, context_of(host))
    if len(ids) > limit:
        raise DataError(f"the prompt has {len(ids):,} tokens; the limit is {limit:,}. Shorten it")
    return torch.tensor([ids], device=host.device)


def context_of(host: Host) -> int:
    """Return how many positions the host was made for; a large number if it does not say."""
    config = getattr(host.module, "config", None)
    return int(getattr(config, "max_position_embeddings", None) or getattr(config, "n_positions", None) or 1 << 20)


def texts(host: Host, tokens: Int[Tensor, " n"]) -> list[str]:
    """Return the text of each token; its number in brackets where the host has no tokenizer."""
    if host.tokenizer is None:
        return [f"[{token}]" for token in tokens.tolist()]
    return [token_text(host.tokenizer, token) for token in tokens.tolist()]
