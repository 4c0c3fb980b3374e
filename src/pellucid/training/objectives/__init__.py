"""Objectives: one file each; a new one is a new file and a line in OBJECTIVES."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Union

from pydantic import Field

from pellucid.training.objectives.base import Evidence, Objective
from pellucid.training.objectives.e2e import EndToEnd
from pellucid.training.objectives.e2e_ds import EndToEndDownstream
from pellucid.training.objectives.local import Local

OBJECTIVES: tuple[type[Objective], ...] = (Local, EndToEnd, EndToEndDownstream)

if TYPE_CHECKING:
    AnyObjective = Objective
else:
    AnyObjective = Annotated[Union[OBJECTIVES], Field(discriminator="kind")]  # noqa: UP007 - built from the registry

__all__ = ["OBJECTIVES", "AnyObjective", "EndToEnd", "EndToEndDownstream", "Evidence", "Local", "Objective"]
