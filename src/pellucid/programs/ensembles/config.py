"""How networks are trained on a task; the same for every task."""

from __future__ import annotations

from pydantic import Field

from pellucid.core.config import Config


class TrainingConfig(Config):
    """Settings of a search for a recurrent network without errors."""

    seed: int = Field(0, ge=0, lt=2**31)
    """First seed; members, batches and checks all follow from it."""
    seconds: float = Field(240.0, gt=0)
    """CPU seconds after which the best network so far is returned. A run that ends earlier does not depend on it."""
    batch: int = Field(64, ge=1, le=65536)
    """Sequences of training length in a step."""
    rate: float = Field(7e-3, gt=0, le=1)
    """Learning rate of the search."""
    pool: int = Field(2**17, ge=64, le=2**22)
    """Training sequences drawn at once."""
    checked: int = Field(2**16, ge=64, le=2**22)
    """Fresh sequences of training length on which a network must make no error."""
    generating: float = Field(60.0, gt=0)
    """Seconds that a slow task may take, in all, to compute outputs; then sequences are used again."""
    affine: bool = True
    """Try affine networks by least squares first."""
