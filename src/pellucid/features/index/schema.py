"""What an index holds: every column of its two tables, and its manifest."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import pyarrow as pa
from pydantic import Field

from pellucid.core.config import Config
from pellucid.dictionaries.base import LARGEST

FORMAT = "pellucid-index"
VERSION = 1
FOLDER = "index"
"""Folder of the index in a run."""
MANIFEST = "manifest.json"
LATENTS_FILE = "latents.parquet"
EXAMPLES_FILE = "examples.parquet"
LARGEST_MANIFEST = 2**24
"""Bytes of manifest.json beyond which it is not read."""

QUANTILES = 11
"""Quantiles of the positive codes: 0, 10, .. 100 %."""
BINS = 20
"""Equal bins of (0, max]."""
DECILES = 10
NEIGHBOURS = 8
"""Co-firing latents, and nearest atoms, that are listed."""
TOKENS = 10
"""Tokens raised, and lowered, that are listed."""


def _table(columns: list[tuple[str, pa.DataType, str]]) -> pa.Schema:
    return pa.schema([pa.field(name, kind, metadata={"meaning": meaning}) for name, kind, meaning in columns])


LATENTS = _table(
    [
        ("latent", pa.int32(), "number of the latent; row i holds latent i"),
        ("firings", pa.int64(), "kept positions on which its code is above 0"),
        ("firing_rate", pa.float32(), "firings / all kept positions"),
        ("mean", pa.float32(), "mean code over the positions on which it fires; 0 if there is none"),
        ("max", pa.float32(), "greatest code; 0 if it never fires"),
        (
            "quantiles",
            pa.list_(pa.float32()),
            "0, 10, .. 100 % of its positive codes, exact, linear between neighbours; or empty",
        ),
        ("histogram", pa.list_(pa.int32()), "positive codes in each of 20 equal bins of (0, max]; empty if it never fires"),
        ("raises", pa.list_(pa.string()), "tokens whose logits the atom raises most on the direct path, strongest first"),
        ("raises_effect", pa.list_(pa.float32()), "their effects, as in features.logit_effects"),
        ("lowers", pa.list_(pa.string()), "tokens whose logits it lowers most, strongest first"),
        ("lowers_effect", pa.list_(pa.float32()), "their effects, below 0"),
        ("cofiring", pa.list_(pa.int32()), "latents that fire with it most, best first"),
        ("cofiring_score", pa.list_(pa.float32()), "positions on which both fire / positions on which either does"),
        ("nearest", pa.list_(pa.int32()), "latents whose atoms have the greatest cosine with its own, best first"),
        ("nearest_cosine", pa.list_(pa.float32()), "their cosines"),
        ("effect_kl", pa.float32(), "mean KL(original || ablated) on positions on which it fires, nats; null if not sampled"),
        ("effect_ce", pa.float32(), "mean rise of the cross-entropy there, nats; null if not sampled"),
        ("effect_positions", pa.int32(), "positions these are means over"),
    ]
)
"""RUN/index/<dictionary>/latents.parquet: one row a latent, in order."""

EXAMPLES = _table(
    [
        ("latent", pa.int32(), "number of the latent; the table is sorted by latent, quantile, rank"),
        ("quantile", pa.int8(), "0: the very top; 1 to 10: decile of its positive codes, 10 the strongest"),
        ("rank", pa.int16(), "place among the examples of the same quantile, strongest first"),
        ("row", pa.int64(), "held-out row; from the number of held-out rows on, that many less is a training row"),
        ("peak_position", pa.int32(), "position in its row of the code that the example is shown for"),
        ("peak", pa.float32(), "that code"),
        ("start", pa.int32(), "position in its row of the window's first token"),
        ("tokens", pa.list_(pa.int32()), "token ids of the window"),
        ("texts", pa.list_(pa.string()), "their texts"),
        ("codes", pa.list_(pa.float32()), "the latent's code at each of them, 0 where it is silent"),
    ]
)
"""RUN/index/<dictionary>/examples.parquet."""


@dataclass(frozen=True)
class IndexedExample:
    """A stretch of one row of text round a position on which a latent fires; the columns of `EXAMPLES`."""

    latent: int
    quantile: int
    """0 for the very top; 1 to 10 for a sample of that decile of the latent's positive codes, 10 the strongest."""
    rank: int
    """Place among the examples of the same quantile, strongest first."""
    row: int
    """Held-out row; from the number of held-out rows on, that many less is a training row."""
    peak_position: int
    """Position in its row of the code that the example is shown for."""
    peak: float
    """That code."""
    start: int
    """Position in its row of the window's first token; the peak is at `peak_position - start` of the window."""
    tokens: list[int]
    texts: list[str]
    codes: list[float]
    """The latent's code at each token of the window, 0 where it is silent."""


class IndexedDictionary(Config):
    """What the manifest says about one dictionary."""

    site: str
    """Site it reads and writes."""
    n_latents: int = Field(ge=1, le=LARGEST)
    """Number of latents."""
    weights_sha256: str
    """sha256 of its weights file when it was indexed."""
    no_effects: str = ""
    """Why there are no logit effects; empty if there are."""
    cofiring_positions: int = Field(default=0, ge=0)
    """Kept positions that co-firing was counted on: all, or a sample where latents fire so densely that all were too many."""


class Manifest(Config):
    """RUN/index/manifest.json: what was indexed, with which settings, and how far it came."""

    format: Literal["pellucid-index"]
    version: Literal[1]
    finished: bool
    """False while the index is being made; its tables may be missing then."""
    settings: dict[str, Any]
    """Settings of `IndexConfig`."""
    host: dict[str, Any]
    """Name, and sha256 of the weights at each site."""
    data: dict[str, Any]
    """What the data source says of itself; `digest` is its sha256."""
    held_out_rows: int = Field(ge=0)
    """Held-out rows of the data source; training rows are numbered from here on."""
    first_row: int = Field(ge=0)
    """First row indexed."""
    rows: int = Field(ge=0)
    """Rows indexed, or to be indexed."""
    context: int = Field(ge=1)
    """Tokens of a row."""
    tokens: int = Field(ge=0)
    """Kept positions seen; 0 until finished."""
    dictionaries: dict[str, IndexedDictionary]
    """By name, in order."""
    versions: dict[str, str] = Field(default_factory=dict)
    """Python and packages that made it."""
