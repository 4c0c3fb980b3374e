"""Hugging Face data sets: saved folders, and names the user asks for with `hf:`."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pellucid.core.errors import DataError, did_you_mean
from pellucid.data.config import Document, TextConfig
from pellucid.data.jsonl import missing_field, text_of

PREFIXES = ("hf:", "hub:")
_NAME = re.compile(r"[\w.-]+(/[\w.-]+)?", re.ASCII)


def is_name(source: str) -> bool:
    """Whether the source asks for a hub name: only these are ever looked up over the network."""
    return source.startswith(PREFIXES)


def is_saved(source: str) -> bool:
    """Whether the source is a folder written by `save_to_disk`."""
    path = Path(source)
    return (path / "dataset_dict.json").is_file() or (
        (path / "state.json").is_file() and (path / "dataset_info.json").is_file()
    )


def read_saved(source: str, config: TextConfig) -> Iterator[Document]:
    """Yield column `text_field` of a folder written by `save_to_disk`.

    Raises DataError if the folder is unreadable, or lacks the split or the column (what there is gets listed).
    """
    datasets = _datasets(source)
    if config.subset is not None:
        raise DataError(f"subset is '{config.subset}', but saved data set {source} has none; remove subset")
    try:
        saved = datasets.load_from_disk(source)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(f"{source} is not a readable saved data set: {error}. Write it again with save_to_disk.") from None
    if isinstance(saved, datasets.DatasetDict):
        split = config.split or "train"
        if split not in saved:
            raise DataError(f"{source} has no split '{split}'; its splits: {', '.join(saved)}.{did_you_mean(split, saved)}")
        saved = saved[split]
    elif config.split is not None:
        raise DataError(f"split is '{config.split}', but saved data set {source} has no splits; remove split")
    return _rows(saved, config, source)


def read_name(source: str, config: TextConfig) -> Iterator[Document]:
    """Yield column `text_field` of a data set of the hub, from the cache or over the network.

    With `max_documents` it is streamed, so that no more is fetched than read. Raises DataError if the data set cannot be
    loaded or lacks the column.
    """
    name = source.split(":", 1)[1]
    if not _NAME.fullmatch(name):
        raise DataError(f"'{source}' is no hub name; wanted hf:name or hf:user/name, with letters, digits, '-', '_' and '.'")
    if Path(name).exists():
        raise DataError(
            f"'{source}' asks for the hub, but {name} is a path here; write '{name}' to read the path, or rename it"
        )
    datasets = _datasets(source)
    offline = _offline()
    try:
        rows = datasets.load_dataset(
            name, config.subset, split=config.split or "train", streaming=config.max_documents is not None and not offline
        )
    except (OSError, ValueError, RuntimeError) as error:
        raise DataError(_failed(source, offline, error)) from None
    return _rows(rows, config, source)


def _rows(rows: Any, config: TextConfig, source: str) -> Iterator[Document]:
    field = config.text_field
    if rows.column_names is not None and field not in rows.column_names:
        raise DataError(missing_field(field, list(rows.column_names), source))
    number = 0
    for batch in rows.iter(batch_size=256):
        if field not in batch:  # a stream may not know its columns before its first rows
            raise DataError(missing_field(field, list(batch), source))
        for text in batch[field]:
            where = f"{source} row {number}"
            yield Document(text_of({field: text}, field, where), where)
            number += 1


def _datasets(source: str) -> Any:
    try:
        import datasets
    except ImportError:
        raise DataError(f"reading '{source}' needs the package 'datasets'; install it with: pip install datasets") from None
    return datasets


def _offline() -> list[str]:
    """Names of the environment variables that forbid the network."""
    yes = {"1", "TRUE", "YES", "ON"}
    return [name for name in ("HF_HUB_OFFLINE", "HF_DATASETS_OFFLINE") if os.environ.get(name, "").upper() in yes]


def _failed(source: str, offline: list[str], error: Exception) -> str:
    cause = str(error).strip().split("\n")[0] or type(error).__name__
    if offline:
        return (
            f"data set '{source}' is not in the cache, and {' and '.join(offline)} forbids fetching it ({cause}). "
            "Unset it, or name a local file, folder or saved data set."
        )
    return (
        f"data set '{source}' could not be loaded: {cause}. Check name, subset, split and connection, or name a local file, "
        "folder or saved data set."
    )
