"""Single files and folders of files, each read by its suffix."""

from __future__ import annotations

import collections
import os
from collections.abc import Callable, Iterator
from pathlib import Path

from pellucid.core.errors import DataError
from pellucid.core.logging import log
from pellucid.data import jsonl, parquet, text_file
from pellucid.data.config import Document, TextConfig

Reader = Callable[[Path, TextConfig], Iterator[Document]]

TEXT_SUFFIXES = (
    *("", ".txt", ".text", ".md", ".markdown", ".rst", ".tex", ".org", ".log"),
    *(".html", ".htm", ".xml", ".css", ".toml", ".yaml", ".yml", ".sql", ".sh"),
    *(".py", ".pyi", ".c", ".h", ".cc", ".cpp", ".hpp", ".cu", ".rs", ".go", ".java", ".kt", ".js", ".ts", ".jsx", ".tsx"),
    *(".rb", ".pl", ".php", ".swift", ".scala", ".hs", ".ml", ".lua", ".jl", ".r"),
)
FORMATS: dict[str, Reader] = {
    **dict.fromkeys(TEXT_SUFFIXES, text_file.read),
    ".jsonl": jsonl.read,
    ".ndjson": jsonl.read,
    ".parquet": parquet.read,
}
"""Reader of a single file, by its suffix in lower case."""


def is_file(source: str) -> bool:
    """Whether the source is a file."""
    return Path(source).is_file()


def is_folder(source: str) -> bool:
    """Whether the source is a folder."""
    return Path(source).is_dir()


def read_file(source: str, config: TextConfig) -> Iterator[Document]:
    """Yield the documents of one file; DataError lists the suffixes that are known if this one is not."""
    path = Path(source)
    reader = FORMATS.get(path.suffix.lower())
    if reader is None:
        raise DataError(f"{path}: files that end in '{path.suffix}' are not read. {_known()}")
    return reader(path, config)


def read(source: str, config: TextConfig) -> Iterator[Document]:
    """Yield the documents of every known file below a folder, sorted by path; a text file is one document.

    Hidden files and folders are passed over, links to folders are not followed, and files of unknown suffix are counted
    in the log. Raises DataError if there is no file to read.
    """
    root = Path(source)
    files = [file for file in _files(root) if file.suffix.lower() in FORMATS and (file.suffix or _is_text_name(file))]
    skipped = collections.Counter(file.suffix for file in _files(root) if file not in set(files))
    if not files:
        found = ", ".join(f"{n} of '{suffix}'" for suffix, n in sorted(skipped.items())) or "no files"
        raise DataError(f"folder {root} holds nothing to read (found {found}). {_known()}")
    if skipped:
        log.info("%s: %d files of other kinds are left out: %s", root, skipped.total(), dict(sorted(skipped.items())))
    for file in files:
        reader = FORMATS[file.suffix.lower()]
        yield from (text_file.read_whole if reader is text_file.read else reader)(file, config)


def _files(root: Path) -> list[Path]:
    found = []
    for folder, folders, names in os.walk(root):
        folders[:] = [name for name in folders if not name.startswith(".")]
        found += [Path(folder, name) for name in names if not name.startswith(".")]
    return sorted(found, key=lambda file: file.relative_to(root).as_posix())


def _is_text_name(file: Path) -> bool:
    return file.name.isupper()  # README, LICENSE; other names without a suffix are as often programs or data


def _known() -> str:
    return f"Known suffixes: {', '.join(suffix for suffix in FORMATS if suffix)}. Rename or convert the files."
