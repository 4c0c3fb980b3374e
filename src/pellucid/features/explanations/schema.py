"""What a file of explanations holds, and reading it."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from pellucid.core import files
from pellucid.core.errors import FileFormatError, RunError, raise_all
from pellucid.features.scores import SCORE_NAMES

FOLDER = "explanations"
"""Folder in a run; in it one for each dictionary, with <explainer>.parquet and summary.json."""
SUMMARY = "summary.json"
MEANINGS = {
    "": (pa.float32(), "the score; null where it was not run"),
    "_low": (pa.float32(), "lower end of its 95 % interval"),
    "_high": (pa.float32(), "upper end"),
    "_shuffled": (pa.float32(), "the same of another latent's explanation: the control"),
    "_n": (pa.int32(), "judgements, contexts or prompts it is made from"),
}
EXPLANATIONS = pa.schema(
    [
        pa.field("latent", pa.int32(), metadata={"meaning": "number of the latent; sorted by it"}),
        pa.field("explainer", pa.string(), metadata={"meaning": "who made the text"}),
        pa.field("text", pa.string(), metadata={"meaning": "the explanation"}),
        *(
            pa.field(score + ending, kind, metadata={"meaning": meaning})
            for score in SCORE_NAMES
            for ending, (kind, meaning) in MEANINGS.items()
        ),
    ]
)
"""RUN/explanations/<dictionary>/<explainer>.parquet: one row for each latent that was explained."""


def path_of(run: Path, dictionary: str, explainer: str) -> Path:
    """Return where the explanations of a dictionary by an explainer are."""
    return run / FOLDER / dictionary / f"{explainer}.parquet"


def write_explanations(path: Path, table: pa.Table) -> None:
    """Write explanations, whole or not at all."""
    with files.atomic_path(path) as inner:
        pq.write_table(table, inner)


def read_explanations(run: str | Path, dictionary: str, explainer: str) -> pa.Table:
    """Return the explanations of a dictionary by an explainer.

    Raises RunError if there are none, FileFormatError if the file is broken or lacks a column.
    """
    path = path_of(Path(run), dictionary, explainer)
    if not path.is_file():
        raise RunError(
            f"{run} has no explanations of '{dictionary}' by {explainer} ({path} does not exist). "
            f"Make them with 'pellucid explain {run} --explainer {explainer}'."
        )
    try:
        table = pq.read_table(path)
    except (pa.ArrowException, OSError) as error:
        raise FileFormatError(f"{path} is not a readable Parquet file: {error}. Remove it and explain again") from None
    missing = [f"column '{name}' is missing" for name in EXPLANATIONS.names if name not in table.column_names]
    raise_all(missing, FileFormatError, title=f"{path} is no file of explanations")
    return table.select(EXPLANATIONS.names)
