"""Contexts as text with <<tokens>> marked."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool

OPEN, CLOSE = "<<", ">>"


def marked(texts: Sequence[str], marks: Bool[np.ndarray, " n"]) -> str:
    """Return the text of a context with each run of marked tokens between << and >>.

    Marks that are part of the text itself are set apart by a space, so that they cannot be taken for ours.
    """
    out: list[str] = []
    inside = False
    for text, mark in zip(texts, marks.tolist(), strict=True):
        if mark != inside:
            out.append(OPEN if mark else CLOSE)
            inside = mark
        out.append(plain(text))
    return "".join(out) + (CLOSE if inside else "")


def plain(text: str) -> str:
    """Return a token's text with marks in it set apart."""
    return text.replace(OPEN, "< <").replace(CLOSE, "> >")
