"""DuckDB over the Parquet files of a run: it sees the run folder, nothing else, and nothing is put into its statements."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pellucid.core.errors import FileFormatError, PellucidError

THREADS = 2


class Database:
    """A connection that many threads may use; reads Parquet files below one folder."""

    def __init__(self, folder: Path) -> None:
        """Open it; PellucidError if duckdb is not installed."""
        try:
            import duckdb
        except ImportError:
            raise PellucidError("the explorer needs duckdb, which is not installed: pip install 'pellucid[web]'") from None
        self._error = duckdb.Error
        settings: dict[str, Any] = {"threads": THREADS}
        settings |= {"autoinstall_known_extensions": False, "autoload_known_extensions": False}
        self._connection = duckdb.connect(":memory:", config=settings)
        self._connection.execute(f"SET allowed_directories = [{_quoted(str(folder.resolve()))}]")
        self._connection.execute("SET parquet_metadata_cache = true")
        self._connection.execute("SET enable_external_access = false")
        self._connection.execute("SET lock_configuration = true")
        self._local = threading.local()
        self._cursors: list[Any] = []

    def rows(self, statement: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """Return all rows; FileFormatError if a file cannot be read."""
        try:
            return self._cursor().execute(statement, list(values)).fetchall()
        except self._error as error:
            raise _unreadable(error) from None

    def columns(self, statement: str, values: Sequence[Any] = ()) -> dict[str, Any]:
        """Return the columns as numpy arrays, masked where there are nulls; FileFormatError if a file cannot be read."""
        try:
            return dict(self._cursor().execute(statement, list(values)).fetchnumpy())
        except self._error as error:
            raise _unreadable(error) from None

    def close(self) -> None:
        """Close every thread's cursor and the connection."""
        for opened in (*self._cursors, self._connection):
            opened.close()
        self._cursors.clear()
        self._local = threading.local()

    def _cursor(self) -> Any:
        """A cursor of this thread's own: one cursor is not for two threads."""
        if not hasattr(self._local, "cursor"):
            self._local.cursor = self._connection.cursor()
            self._cursors.append(self._local.cursor)
        return self._local.cursor


def _unreadable(error: Exception) -> FileFormatError:
    line = str(error).strip().splitlines()[0]
    return FileFormatError(f"a Parquet file of this run cannot be read: {line}. Make it again: 'pellucid index RUN --replace'.")


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
