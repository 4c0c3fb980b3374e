"""What a text source is asked for, and what it gives."""

from __future__ import annotations

from typing import Literal, NamedTuple

from pydantic import Field, model_validator

from pellucid.core.config import Config


class Document(NamedTuple):
    """One text of a source."""

    text: str
    where: str
    """Where it stands, for messages."""
    family: str = ""
    """Documents of one family quote each other, so they are held out together or not at all; empty: its own."""


class TextConfig(Config):
    """Text to read, split by document and pack into rows of tokens."""

    source: str = "python-docs"
    """`python-docs`, a text, JSONL or Parquet file, a folder, a saved Hugging Face data set, or `hf:user/name`."""

    context: int = Field(default=128, ge=2)
    """Tokens in a row."""

    held_out: float = Field(default=0.1, ge=0, lt=1)
    """Fraction of the documents kept out of training, for scores."""

    seed: int = Field(default=0, ge=0)
    """Decides which documents are held out, and the order of rows."""

    exclude_first: int = Field(default=1, ge=0)
    """First positions of every row that no dictionary sees: they carry no context, and often huge norms."""

    text_field: str = "text"
    """Column that holds the text, in JSONL, Parquet and Hugging Face data sets."""

    max_documents: int | None = Field(default=None, ge=1)
    """Read at most this many documents, the first of the source; None reads all."""

    separator: Literal["auto", "eos", "bos", "none"] = "auto"
    """Token after each document; `auto` is the tokenizer's eos, without one its bos, without both none."""

    subset: str | None = None
    """Configuration of a Hugging Face data set that has several."""

    split: str | None = None
    """Split of a Hugging Face data set; None is `train`."""

    @model_validator(mode="after")
    def _leaves_positions(self) -> TextConfig:
        if self.exclude_first >= self.context:
            raise ValueError(
                f"exclude_first is {self.exclude_first}, which leaves no position of a row of {self.context} tokens; "
                f"wanted at most {self.context - 1}"
            )
        return self
