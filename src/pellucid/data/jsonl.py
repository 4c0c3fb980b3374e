"""JSON lines: one object a line."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pellucid.core.errors import DataError, did_you_mean
from pellucid.data.config import Document, TextConfig
from pellucid.data.text_file import decode


def read(path: Path, config: TextConfig) -> Iterator[Document]:
    """Yield field `text_field` of every line; blank lines are passed over.

    Raises DataError naming the line that is not UTF-8, not a JSON object, or lacks the field.
    """
    with path.open("rb") as file:
        for number, data in enumerate(file, start=1):
            where = f"{path} line {number}"
            line = decode(data, where).strip()
            if line:
                yield Document(text_of(_parse(line, where), config.text_field, where), where)


def text_of(row: dict[str, Any], field: str, where: str) -> str:
    """Return the text of a row; DataError lists the fields there are if `field` is missing or is no string."""
    if field not in row:
        raise DataError(missing_field(field, list(row), where))
    text = row[field]
    if not isinstance(text, str):
        raise DataError(f"{where}: field '{field}' holds {type(text).__name__}, wanted a string; remove or fill such rows")
    return text


def missing_field(field: str, fields: list[str], where: str) -> str:
    """Return the sentence for a text field that is not there."""
    known = ", ".join(f"'{name}'" for name in fields) or "none"
    return f"{where} has no field '{field}'; its fields: {known}. Set text_field to one of them.{did_you_mean(field, fields)}"


def _parse(line: str, where: str) -> dict[str, Any]:
    try:
        row = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise DataError(f"{where} is not valid JSON: {error}. Is the file complete, with one object a line?") from None
    if not isinstance(row, dict):
        raise DataError(f'{where} holds a JSON {type(row).__name__}, wanted an object such as {{"text": "..."}}')
    return row
