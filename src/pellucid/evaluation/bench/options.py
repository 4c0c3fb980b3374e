"""What the benchmark of dictionaries takes."""

from __future__ import annotations

from pydantic import Field, model_validator

from pellucid.core.config import Config


class DictionaryBenchOptions(Config):
    """What is run, and how much of it."""

    quick: bool = False
    """Small budgets, meant to end in 10 minutes on two cores: the page is whole, its numbers are early."""
    long: bool = False
    """Ten times the tokens, more settings and larger dictionaries: hours."""
    architectures: tuple[str, ...] = ()
    """Architectures (default: all that are registered)."""
    beds: tuple[str, ...] = ()
    """Data: independent, hierarchy, interference, heavy_tailed or host (default: all five)."""
    host: str = "smollm2"
    """Language model of the bed 'host'."""
    site: str = "layers.14"
    """Its site."""
    workers: int = Field(2, ge=1)
    """Processes side by side, one thread each."""
    seed: int = Field(0, ge=0)
    """Decides the data and the starting weights."""

    @model_validator(mode="after")
    def _one_budget(self) -> DictionaryBenchOptions:
        if self.quick and self.long:
            raise ValueError("quick and long are both set; choose one budget")
        return self
