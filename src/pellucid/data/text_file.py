"""Plain text files."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from pellucid.core.errors import DataError
from pellucid.data.config import Document, TextConfig

END_OF_TEXT = "<|endoftext|>"
CHUNK = 2000


def read(path: Path, config: TextConfig) -> Iterator[Document]:
    """Yield the documents of a single text file.

    Where the file holds `<|endoftext|>` or form feeds, those end its documents. Else a document ends at the first blank
    line after 2,000 characters, or at the first line end after 4,000, so that some of the file can be held out.
    Raises DataError if the file is not UTF-8.
    """
    text = decode(path.read_bytes(), str(path))
    marked = END_OF_TEXT in text or "\f" in text
    pieces = re.split(re.escape(END_OF_TEXT) + "|\f", text) if marked else _chunks(text)
    for number, piece in enumerate(pieces, start=1):
        yield Document(piece, f"{path} part {number}")


def read_whole(path: Path, config: TextConfig) -> Iterator[Document]:
    """Yield a text file of a folder as one document, or as several where it holds `<|endoftext|>`.

    Raises DataError if the file is not UTF-8.
    """
    for number, piece in enumerate(decode(path.read_bytes(), str(path)).split(END_OF_TEXT), start=1):
        yield Document(piece, f"{path} part {number}")


def decode(data: bytes, where: str) -> str:
    """Return UTF-8 bytes as text with `\\n` line ends and no byte order mark; DataError names the place if they are not."""
    try:
        return data.decode("utf-8-sig").replace("\r\n", "\n")
    except UnicodeDecodeError as error:
        raise DataError(
            f"{where} is not UTF-8 text: byte {error.start} is 0x{data[error.start]:02x}. "
            "Convert it to UTF-8, or name another source."
        ) from None


def _chunks(text: str) -> Iterator[str]:
    lines: list[str] = []
    length = 0
    for line in text.split("\n"):
        lines.append(line)
        length += len(line) + 1
        if (length >= CHUNK and not line.strip()) or length >= 2 * CHUNK:
            yield "\n".join(lines)
            lines, length = [], 0
    if lines:
        yield "\n".join(lines)
