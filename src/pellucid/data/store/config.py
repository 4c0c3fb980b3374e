"""Settings of an activation store."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from pellucid.core.config import Config

Dtype = Literal["float32", "bfloat16", "int8"]


class StoreConfig(Config):
    """Where activations are kept, so that a second fit on the same host, sites and text need not run the host."""

    folder: str | None = None
    """Folder for activations, shared by any number of fits; each host, site and text finds its own. None keeps nothing."""
    dtype: Dtype = "float32"
    """How numbers are kept. float32 gives the fit without a store, bit for bit; bfloat16 halves and int8 (one scale a row)
    quarters the space, and the dictionaries see the rounded numbers from the first pass on."""
    shard_mb: int = Field(64, ge=1, le=4096)
    """Size of one file. What was run since the last whole file is run again after a kill."""
    shuffle_rows: int = Field(0, ge=0)
    """Positions are drawn at random from this many rows of text, a multiple of batch_rows; 0 keeps the order of the text."""
    read_only: bool = False
    """Refuse to train if the folder does not hold everything, instead of running the host for what is missing."""
