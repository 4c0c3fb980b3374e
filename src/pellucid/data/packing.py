"""Documents to rows of tokens: which are held out, and how they are laid end to end."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Int
from torch import Tensor


def shuffle_key(seed: int, tokens: np.ndarray) -> bytes:
    """Return sha256(seed, tokens): sorting by it is a permutation that no order of the source can change."""
    return hashlib.sha256(f"{seed}|".encode() + tokens.astype("<i8").tobytes()).digest()


def split(
    documents: Sequence[np.ndarray], held_out: float, seed: int, families: Sequence[str] | None = None
) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Shuffle documents of token ids and part them into (train, held out), no family in both.

    Families are held out in the drawn order, each if it still fits, until round(held_out * n) documents are; at least 1
    and at most n - 1 unless `held_out` is 0. If no family is so small, the smallest is held out. The empty family name
    stands for a family of one. The documents must all differ, else the order of equal ones is that of the source.
    """
    if held_out == 0:
        return sorted(documents, key=lambda tokens: shuffle_key(seed, tokens)), []
    order = sorted(range(len(documents)), key=lambda index: shuffle_key(seed, documents[index]))
    groups: dict[str | int, list[int]] = {}
    for index in order:
        groups.setdefault((families[index] if families else "") or index, []).append(index)
    wanted = max(1, min(round(held_out * len(order)), len(order) - 1))
    chosen: set[int] = set()
    for group in groups.values():
        if len(chosen) + len(group) <= wanted:
            chosen.update(group)
    if not chosen:
        smallest = min(groups.values(), key=len)
        chosen.update(smallest)
    train = [documents[index] for index in order if index not in chosen]
    return train, [documents[index] for index in order if index in chosen]


def pack(documents: Sequence[np.ndarray], context: int, separator: int | None) -> tuple[Int[Tensor, "rows context"], int]:
    """Lay documents end to end, a separator after each, and cut rows of `context` tokens.

    Returns the rows, int32, and how many tokens stood after the last full row and are dropped.
    """
    end = [] if separator is None else [np.array([separator], dtype=np.int32)]
    pieces = [piece for tokens in documents for piece in (tokens, *end)]
    stream = np.concatenate([np.empty(0, dtype=np.int32), *pieces])
    n_rows = len(stream) // context
    rows = stream[: n_rows * context].reshape(n_rows, context)  # [rows, context]
    return torch.from_numpy(rows.astype(np.int32)), len(stream) - rows.size
