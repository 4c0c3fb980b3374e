"""Examples made ready to print: grouped by quantile, shaded by activation; and one line for lists."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

from pellucid.core.errors import FileFormatError
from pellucid.features.index import IndexedExample
from pellucid.web.explorer.example_texts import Snippet
from pellucid.web.features_view import Piece, pieces
from pellucid.web.text import in_line

BEFORE, AFTER = 9, 4
"""Tokens of a line shown before and after its peak."""


@dataclass(frozen=True)
class Line:
    """One example."""

    pieces: list[Piece]
    row: int
    position: int
    peak: str


@dataclass(frozen=True)
class Group:
    """Examples of one quantile."""

    quantile: int
    title: str
    lines: list[Line]


def groups(examples: Sequence[IndexedExample], top: float) -> list[Group]:
    """Return the examples by quantile in the order given; shades are shares of `top`, the latent's greatest code.

    FileFormatError if an example's lists do not fit together.
    """
    return list(_groups(examples, top))


def _groups(examples: Sequence[IndexedExample], top: float) -> Iterator[Group]:
    for quantile, found in groupby(examples, key=lambda one: one.quantile):
        lines = []
        for one in found:
            try:
                cut = pieces(one.texts, one.codes, one.peak_position - one.start, top, whole=True)
            except ValueError as error:
                where = f"an example of latent {one.latent} at row {one.row}"
                raise FileFormatError(f"{where} has another form: {error}. Make the index again.") from None
            lines.append(Line(cut, one.row, one.peak_position, f"{one.peak:.3g}"))
        decile = f"{10 * (quantile - 1)}\u2013{10 * quantile} % of its activations"
        yield Group(quantile, "strongest" if quantile == 0 else decile, lines)


def line(snippet: Snippet | None) -> list[Piece]:
    """Return a latent's best example as one line, its peak marked."""
    if snippet is None or not 0 <= snippet.peak < len(snippet.texts):
        return []
    start, stop = max(0, snippet.peak - BEFORE), snippet.peak + AFTER + 1
    before = "".join(in_line(text) for text in snippet.texts[start : snippet.peak])
    after = "".join(in_line(text) for text in snippet.texts[snippet.peak + 1 : stop])
    return [Piece(before), Piece(in_line(snippet.texts[snippet.peak]), peak=True), Piece(after)]
