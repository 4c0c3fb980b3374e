"""Settings of an index."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from pellucid.core.config import Config


class IndexConfig(Config):
    """What is indexed, and how much of it is kept."""

    part: Literal["held_out", "train", "all"] = "held_out"
    """Text that is indexed: held out, trained on, or both (the held-out text first)."""
    tokens: int | None = Field(default=None, ge=1)
    """Tokens to index, rounded up to whole rows (default: all of the part)."""
    batch_rows: int = Field(default=8, ge=1)
    """Rows in one run of the host."""
    before: int = Field(default=12, ge=0)
    """Tokens shown before an example's peak."""
    after: int = Field(default=6, ge=0)
    """Tokens shown after it."""
    top: int = Field(default=10, ge=1, le=1000)
    """Top examples kept of a latent, at most one a row."""
    per_decile: int = Field(default=3, ge=0, le=1000)
    """Examples sampled from each decile of a latent's positive codes."""
    effect_share: float = Field(default=0.25, ge=0, allow_inf_nan=False)
    """Work spent on ablations, as a share of the work of running the host over the text; 0: none."""
    effect_rows: int = Field(default=4, ge=1)
    """Rows on which a latent is ablated at most."""
    effect_positions: int = Field(default=8, ge=1)
    """Positions of such a row at which the effect is measured at most."""
    seed: int = 0
    """What samples are drawn by."""
