"""From the `source` string to documents: one line a kind of source."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from pellucid.core.errors import ConfigError, DataError, nearest, raise_all
from pellucid.data import folder, hub, python_docs
from pellucid.data.config import Document, TextConfig


@dataclass(frozen=True)
class Kind:
    """A kind of source: which source strings it takes, and how it reads them."""

    name: str
    matches: Callable[[str], bool]
    read: Callable[[str, TextConfig], Iterator[Document]]
    has_splits: bool = False


KINDS = (
    Kind("built-in text", python_docs.matches, python_docs.read),
    Kind("hub data set", hub.is_name, hub.read_name, has_splits=True),
    Kind("saved data set", hub.is_saved, hub.read_saved, has_splits=True),
    Kind("folder", folder.is_folder, folder.read),
    Kind("file", folder.is_file, folder.read_file),
)
"""All kinds; the first that takes a source string reads it."""


def documents(config: TextConfig) -> Iterator[Document]:
    """Yield the documents of a source in its own order, stripped of surrounding whitespace; some may be empty.

    Raises DataError if the source is unknown, unreadable or holds text that is not Unicode, and ConfigError if a setting
    does not apply to it.
    """
    kind = find_kind(config.source)
    if not kind.has_splits:
        given = [name for name in ("subset", "split") if getattr(config, name) is not None]
        wanted = f"does not apply to a {kind.name} such as '{config.source}'; remove it"
        raise_all([f"{name} is '{getattr(config, name)}', which {wanted}" for name in given], ConfigError)
    return (_checked(document) for document in itertools.islice(kind.read(config.source, config), config.max_documents))


def find_kind(source: str) -> Kind:
    """Return the kind that reads this source; DataError lists what was tried and the nearest names if there is none."""
    if not source.strip():  # Path("") would be the folder we are in
        raise DataError(f"data source is empty; wanted '{python_docs.NAME}', a path, or a hub name such as 'hf:user/name'")
    for kind in KINDS:
        if kind.matches(source):
            return kind
    raise DataError(_unknown(source))


def _unknown(source: str) -> str:
    path = Path(source)
    parent = path.parent
    if parent.is_dir():
        # Compared without suffix too: 'notes' should find 'notes.jsonl'.
        names = {file.name: file for file in sorted(parent.iterdir())} | {file.stem: file for file in sorted(parent.iterdir())}
        near = list(dict.fromkeys(str(names[name]) for name in nearest(path.name, names)))
        there = f"nearest in its folder: {', '.join(near)}" if near else "nothing in its folder has a name like it"
    else:
        there = f"neither does its folder {parent}"
    lines = [
        f"the built-in text '{python_docs.NAME}': another name",
        f"the path {path.absolute()}: does not exist; {there}",
        f"the hub: only looked up when asked for, as 'hf:{source}'",
    ]
    return f"data source '{source}' was not found. Tried:\n" + "\n".join(f"  - {line}" for line in lines)


def _checked(document: Document) -> Document:
    try:
        document.text.encode()
    except UnicodeEncodeError as error:
        raise DataError(
            f"{document.where}: character {error.start} is half a surrogate pair, which is no text; escape it as UTF-8 again"
        ) from None
    return document._replace(text=document.text.strip())
