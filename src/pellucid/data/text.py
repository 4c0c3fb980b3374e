"""Text as rows of tokens."""

from __future__ import annotations

import hashlib
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Int
from torch import Tensor

from pellucid.core.config import digest
from pellucid.core.errors import ConfigError, DataError, raise_all
from pellucid.core.logging import Ticker
from pellucid.data.config import Document, TextConfig
from pellucid.data.documents import documents
from pellucid.data.packing import pack, split
from pellucid.data.source import Batch, DataSource

NO_LABEL = -100
TOKENISE_AT_ONCE = 256


@dataclass(frozen=True)
class TextCounts:
    """What became of the text on its way to rows."""

    documents: int
    """Documents that are used, train and held out."""
    documents_held_out: int
    documents_empty: int
    """Left out: no text, or no token."""
    documents_repeated: int
    """Left out: the same text or the same tokens as an earlier one."""
    tokens_train: int
    """Tokens in training rows."""
    tokens_held_out: int
    tokens_dropped_train: int
    """After the last full row, so in none."""
    tokens_dropped_held_out: int


def load_text(config: TextConfig, tokenizer: Any) -> TokenData:
    """Read, tokenise, split and pack text.

    Documents that repeat another (text or tokens) are left out before the split, so no held-out document was trained
    on; documents a source names as one family, because they quote each other, stay together. The split is by document,
    drawn from the seed and the documents themselves: the order of the source plays no part. Each part is packed by
    itself, in the drawn order.

    Raises DataError if the source is unknown, malformed, empty, or too short for one row of a part, and ConfigError if
    the tokenizer is missing or lacks the separator asked for.
    """
    if tokenizer is None:
        raise ConfigError("text needs a tokenizer, but the host has none; give one, or use TensorData")
    separator = find_separator(config, tokenizer)
    found, n_empty, n_repeated = _unique_documents(config)
    tokenised = _tokenise([document.text for document in found], tokenizer)
    unique: dict[bytes, tuple[np.ndarray, str]] = {}
    for tokens, document in zip(tokenised, found, strict=True):
        if len(tokens):
            unique.setdefault(tokens.tobytes(), (tokens, document.family))
    n_no_token = sum(len(tokens) == 0 for tokens in tokenised)
    n_empty, n_repeated = n_empty + n_no_token, n_repeated + len(tokenised) - n_no_token - len(unique)
    if not unique:
        raise DataError(f"'{config.source}' holds no text: all of its {n_empty} documents are empty")
    contents, families = zip(*unique.values(), strict=True)
    train, held_out = split(contents, config.held_out, config.seed, families)
    (rows, dropped), (rows_held_out, dropped_held_out) = (pack(part, config.context, separator) for part in (train, held_out))
    _check_length(
        config, train, held_out, len(rows) * config.context + dropped, len(rows_held_out) * config.context + dropped_held_out
    )
    counts = TextCounts(
        len(unique), len(held_out), n_empty, n_repeated, rows.numel(), rows_held_out.numel(), dropped, dropped_held_out
    )
    return TokenData(rows, rows_held_out, config, tokenizer, counts)


class TokenData(DataSource):
    """Rows of token ids; attention is plain causal over a row, also across the documents in it.

    A batch has inputs {"input_ids": [batch, context]}, the next token as label (-100 at the last position), and `keep`,
    which is False at special tokens and at the first `exclude_first` positions.
    """

    def __init__(
        self,
        train: Int[Tensor, "train context"],
        held_out: Int[Tensor, "held_out context"],
        config: TextConfig,
        tokenizer: Any,
        counts: TextCounts,
    ) -> None:
        super().__init__(len(train), len(held_out), config.context, config.seed)
        self.config, self.counts, self.tokenizer = config, counts, tokenizer
        self._train, self._held_out = train, held_out
        self._special = torch.tensor(sorted(set(tokenizer.all_special_ids)), dtype=torch.int64)
        self._pieces: dict[int, str] = {}
        self._digest: str | None = None
        self._n_kept = sum(int(self._keep(rows).sum()) for rows in held_out.split(1024))
        if not any(bool(self._keep(rows).any()) for rows in train.split(1024)):
            raise DataError(
                f"'{config.source}' gives special tokens only, so no position is left to train on; check tokenizer and text"
            )

    def train_rows(self, indices: Int[Tensor, " batch"]) -> Batch:
        """Return training rows as a batch."""
        return self._batch(self._train[indices])

    def held_out_rows(self, indices: Int[Tensor, " batch"]) -> Batch:
        """Return held-out rows as a batch."""
        return self._batch(self._held_out[indices])

    def digest(self) -> str:
        """Return the sha256 over the token ids of both parts and the config."""
        if self._digest is None:
            total = hashlib.sha256(digest(self.config).encode())
            for name, rows in (("train", self._train), ("held_out", self._held_out)):
                total.update(f"|{name}|{tuple(rows.shape)}|".encode())
                total.update(rows.numpy().astype("<i4").tobytes())
            self._digest = total.hexdigest()
        return self._digest

    def describe(self) -> dict[str, Any]:
        """Return source, counts, the sentence on excluded positions, settings and digest."""
        return {
            "source": self.config.source,
            **asdict(self.counts),
            "rows_train": self.n_train,
            "rows_held_out": self.n_held_out,
            "context": self.config.context,
            "separator": self._separator_text(),
            "seed": self.config.seed,
            "excluded": self.excluded(),
            "digest": self.digest(),
        }

    def excluded(self) -> str:
        """Say which positions no dictionary sees."""
        first = self.config.exclude_first
        rules = [f"the first {first} positions of every row".replace("first 1 positions", "first position")] if first else []
        rules += ["every special token"] if len(self._special) else []
        if not rules:
            return "no position is excluded"
        total = self._held_out.numel()
        share = f" ({total - self._n_kept} of {total} held-out positions)" if total else ""
        return f"{' and '.join(rules)}{share}: passed unchanged, neither trained on nor scored"

    def tokens_text(self, batch: Batch) -> list[list[str]]:
        """Return the text of every token of a batch, [batch][context]; the inner spaces are kept."""
        return [[self._piece(token) for token in row] for row in batch.inputs["input_ids"].tolist()]

    def _batch(self, rows: Int[Tensor, "batch context"]) -> Batch:
        ids = rows.long()
        labels = torch.full_like(ids, NO_LABEL)
        labels[:, :-1] = ids[:, 1:]
        return Batch({"input_ids": ids}, self._keep(ids), labels)

    def _keep(self, rows: Int[Tensor, "batch context"]) -> Tensor:
        keep = ~torch.isin(rows.long(), self._special)
        keep[:, : self.config.exclude_first] = False
        return keep

    def _piece(self, token: int) -> str:
        if token not in self._pieces:
            self._pieces[token] = token_text(self.tokenizer, token)
        return self._pieces[token]

    def _separator_text(self) -> str | None:
        separator = find_separator(self.config, self.tokenizer)
        return None if separator is None else str(self.tokenizer.convert_ids_to_tokens(separator))


def token_text(tokenizer: Any, token: int) -> str:
    """Return a token's text, its inner spaces kept; '[id]' for an id that only pads the vocabulary."""
    raw = tokenizer.convert_ids_to_tokens(token)
    if raw is None:
        return f"[{token}]"
    text = tokenizer.decode([token])
    if "\ufffd" in text:
        return str(raw)  # part of a character: only the vocabulary can name it
    # SentencePiece vocabularies drop the space of a first token
    return f" {text}" if raw.startswith("\u2581") and not text.startswith(" ") else str(text)


def find_separator(config: TextConfig, tokenizer: Any) -> int | None:
    """Return the id of the token after each document, or None; ConfigError if the tokenizer lacks the one asked for."""
    known = {"eos": tokenizer.eos_token_id, "bos": tokenizer.bos_token_id}
    if config.separator == "none":
        return None
    if config.separator == "auto":
        return known["eos"] if known["eos"] is not None else known["bos"]
    if known[config.separator] is None:
        raise ConfigError(
            f"separator is '{config.separator}', but the tokenizer has no {config.separator} token; "
            "set separator to auto or none"
        )
    return known[config.separator]


def _unique_documents(config: TextConfig) -> tuple[list[Document], int, int]:
    """Documents that are neither empty nor repeats, in source order, and how many were each."""
    found = list(documents(config))
    full = [document for document in found if document.text]
    if not full:
        raise DataError(f"'{config.source}' holds no text: {len(found)} documents read, all empty")
    unique: dict[str, Document] = {}
    for document in full:
        unique.setdefault(document.text, document)
    return list(unique.values()), len(found) - len(full), len(full) - len(unique)


def _tokenise(texts: list[str], tokenizer: Any) -> list[np.ndarray]:
    tokenised: list[np.ndarray] = []
    with Ticker("tokenising", total=len(texts), unit="documents") as ticker:
        for start in range(0, len(texts), TOKENISE_AT_ONCE):
            chunk = texts[start : start + TOKENISE_AT_ONCE]
            # verbose=False: documents longer than the model's window are cut into rows anyway.
            encoded = tokenizer(chunk, add_special_tokens=False, return_attention_mask=False, verbose=False)
            tokenised += [np.array(ids, dtype=np.int32) for ids in encoded["input_ids"]]
            ticker.advance(len(chunk))
    return tokenised


def _check_length(
    config: TextConfig, train: list[np.ndarray], held_out: list[np.ndarray], n_train: int, n_held_out: int
) -> None:
    """Raise DataError if a part has no full row."""
    if not train:
        raise DataError(
            f"'{config.source}' holds {len(held_out)} document that can be split off as held out, wanted at least 2 so that "
            "one is left to train on. "
            "Add documents, mark their ends with <|endoftext|>, or set held_out to 0."
        )
    parts = [("training", train, n_train, "lower held_out")]
    parts += [("held-out", held_out, n_held_out, "raise held_out")] if config.held_out > 0 else []
    problems = [
        f"the {name} part of '{config.source}' has {found} tokens in {len(part)} documents, wanted at least {config.context} "
        f"for one row; lower context to {found} or less, {move} (now {config.held_out}), or give more text"
        for name, part, found, move in parts
        if found < config.context
    ]
    raise_all(problems, DataError)
