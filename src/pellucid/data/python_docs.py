"""The built-in text: Python's own documentation, read from the interpreter's files without running them."""

from __future__ import annotations

import ast
import builtins
import functools
import inspect
import sysconfig
import types
import warnings
from collections.abc import Iterator
from pathlib import Path

from pellucid.core.errors import DataError
from pellucid.core.logging import log
from pellucid.data.config import Document, TextConfig

NAME = "python-docs"
MIN_CHARACTERS = 200
QUOTE_CHARACTERS = 40
# Tests and their data, applications, bundled third-party code, and modules whose text is a joke.
EXCLUDED = {
    *("test", "tests", "idlelib", "lib2to3", "turtledemo", "ensurepip", "pydoc_data", "site-packages", "dist-packages"),
    *("__phello__", "__hello__.py", "__pycache__", "antigravity.py", "this.py"),
}
_Named = ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef


def matches(source: str) -> bool:
    """Whether the source is the built-in text."""
    return source == NAME


def read(source: str, config: TextConfig) -> Iterator[Document]:
    """Yield the language topics, then the docstrings of over 200 characters of the builtins and of the standard library.

    The order is fixed: topics and builtins by name, library files by path. Topics quote whole pages of each other and
    classes copy docstrings: documents that share a line of 40 characters or more are one family. The text is that of the
    running Python, so its version belongs to the result.

    Raises DataError if this Python comes without its documentation or library source.
    """
    yield from _all()


@functools.cache
def _all() -> tuple[Document, ...]:
    root = Path(sysconfig.get_path("stdlib"))
    files = sorted(file for file in root.rglob("*.py") if EXCLUDED.isdisjoint(file.relative_to(root).parts))
    if not files:
        raise DataError(f"'{NAME}' needs the source of the standard library, but {root} holds no .py file; name another source")
    found = [*_topics(), *_builtins()]
    for file in files:
        found += _docstrings(file, file.relative_to(root).as_posix())
    return tuple(_with_families(found))


def _with_families(found: list[Document]) -> Iterator[Document]:
    """Name each document's family after the first document linked to it by shared lines, directly or through others."""
    parent = list(range(len(found)))

    def root(index: int) -> int:
        while parent[index] != index:
            parent[index] = index = parent[parent[index]]
        return index

    first: dict[str, int] = {}
    for index, document in enumerate(found):
        for line in map(str.strip, document.text.split("\n")):
            if len(line) >= QUOTE_CHARACTERS:
                one, other = root(index), root(first.setdefault(line, index))
                parent[max(one, other)] = min(one, other)
    return (document._replace(family=found[root(index)].where) for index, document in enumerate(found))


def _topics() -> Iterator[Document]:
    try:
        from pydoc_data.topics import topics
    except ImportError:
        raise DataError(f"'{NAME}' needs the module pydoc_data, which this Python lacks; name another source") from None
    for name in sorted(topics):
        yield Document(topics[name], f"topic {name}")


def _builtins() -> Iterator[Document]:
    for name, value in sorted(vars(builtins).items()):
        # Shells put objects of their own here; the text must not depend on who runs it.
        if not isinstance(value, (type, types.BuiltinFunctionType)) or value.__module__ != "builtins":
            continue
        members = sorted(vars(value).items()) if isinstance(value, type) else []
        for label, item in [(name, value), *((f"{name}.{member}", held) for member, held in members)]:
            text = None if isinstance(item, str) else item.__doc__
            if isinstance(text, str) and len(text := inspect.cleandoc(text)) > MIN_CHARACTERS:
                yield Document(text, f"builtin {label}")


def _docstrings(file: Path, name: str) -> Iterator[Document]:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the library's own escapes are no business of the user
            tree = ast.parse(file.read_bytes())
    except (SyntaxError, ValueError) as error:
        log.info("%s: %s is left out, it does not parse: %s", NAME, file, error)
        return
    text = ast.get_docstring(tree)
    if text and len(text) > MIN_CHARACTERS:
        yield Document(text, name)
    for node in _definitions(tree):
        text = ast.get_docstring(node)
        if text and len(text) > MIN_CHARACTERS:
            yield Document(text, f"{name}:{node.lineno} {node.name}")


def _definitions(node: ast.AST) -> Iterator[_Named]:
    """Classes and functions at any depth, in source order; expressions are never entered, they hold none."""
    for field in ("body", "handlers", "orelse", "finalbody"):
        children = getattr(node, field, None)
        for child in children if isinstance(children, list) else ():
            if isinstance(child, _Named):
                yield child
            yield from _definitions(child)
