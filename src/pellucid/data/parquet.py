"""Parquet files, read a row group at a time."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from pellucid.core.errors import DataError
from pellucid.data.config import Document, TextConfig
from pellucid.data.jsonl import missing_field, text_of


def read(path: Path, config: TextConfig) -> Iterator[Document]:
    """Yield column `text_field` of every row.

    Raises DataError if the file is not Parquet, lacks the column (the columns are listed), or a value is no string.
    """
    import pyarrow
    import pyarrow.parquet

    field = config.text_field
    try:
        with pyarrow.parquet.ParquetFile(path) as file:
            columns = file.schema_arrow.names
            if field not in columns:
                raise DataError(missing_field(field, columns, str(path)))
            number = 0
            for batch in file.iter_batches(batch_size=1024, columns=[field]):
                for text in batch.column(0).to_pylist():
                    where = f"{path} row {number}"
                    yield Document(text_of({field: text}, field, where), where)
                    number += 1
    except (pyarrow.ArrowException, OSError) as error:
        raise DataError(f"{path} is not a readable Parquet file: {error}. Fetch or write it again.") from None
