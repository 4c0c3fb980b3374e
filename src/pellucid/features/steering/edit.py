"""One change to what a host computes: where, along what, at which positions, how."""

from __future__ import annotations

import math
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, model_validator

from pellucid.core.config import Config
from pellucid.features.steering.positions import parse

Operation = Literal["add", "set", "scale", "ablate_zero", "ablate_mean", "ablate_direction"]
SETS: tuple[Operation, ...] = ("set", "ablate_zero", "ablate_mean")
"""Operations that fix a code, whatever it was."""
NEEDS_VALUE: tuple[Operation, ...] = ("add", "set", "scale", "ablate_mean")


def _numbers(value: Any) -> Any:
    """Take a tensor or an array as the numbers it holds."""
    return value.tolist() if hasattr(value, "tolist") else value


class Edit(Config):
    """One change at one site, along a latent's atom or along a direction.

    With h the site's value at a position, d the latent's decoder row (the direction as given) and z its code there (for a
    direction h.d / d.d), the operations are
      add               h + value d; with `relative`, h + value |h| d / |d|
      set               h + (value - z) d, also called clamping
      scale             h + (value - 1) z d
      ablate_zero       h - z d
      ablate_mean       h + (value - z) d, `value` the mean code over data
      ablate_direction  h - (h.u) u with u = d / |d|
    Nothing else of h changes: what the dictionary does not reconstruct, its error term, is kept.
    """

    dictionary: str = ""
    """Dictionary the latent belongs to; may be left out where there is one dictionary."""
    latent: int | None = None
    """Number of the latent."""
    direction: Annotated[tuple[float, ...] | None, BeforeValidator(_numbers)] = Field(default=None, repr=False)
    """A direction in the place of a latent: as many numbers as the site has features."""
    site: str = ""
    """Site of a direction, like layers.14; a latent is edited at its dictionary's site."""
    operation: Operation = "add"
    """add, set, scale, ablate_zero, ablate_mean or ablate_direction."""
    value: float | None = None
    """Strength of add, code of set, factor of scale, mean code of ablate_mean; the other operations take none."""
    relative: bool = False
    """add only: `value` counts in lengths of h, so that it means the same at every site and position."""
    positions: str | tuple[int, ...] = "all"
    """all, prompt, last, from_end (the prompt's last position and all generated ones), fires (where the latent's code is
    above 0), a slice '2:6', or indices '3,5,-1'; negative ones count from the end of the prompt."""

    @model_validator(mode="after")
    def _fits(self) -> Edit:
        problems = [*self._component_problems(), *self._value_problems()]
        rule, problem = parse(self.positions)
        problems += [problem] if problem else []
        if rule is not None and rule.kind == "fires" and self.direction is not None:
            problems.append("positions 'fires' asks where a latent is active, but the edit is along a direction")
        if problems:
            raise ValueError("; ".join(problems))
        return self

    @property
    def sets(self) -> bool:
        """True if the operation fixes the code, whatever it was."""
        return self.operation in SETS

    @property
    def component(self) -> tuple[Any, ...]:
        """What is edited; edits with equal components act on the same code."""
        return (self.dictionary, self.latent) if self.direction is None else (self.site, self.direction)

    def describe(self) -> str:
        """Return the edit in a few words, for messages and reports."""
        what = f"latent {self.latent}" if self.direction is None else f"a direction at {self.site}"
        where = f" of '{self.dictionary}'" if self.direction is None and self.dictionary else ""
        value = "" if self.value is None else f" {self.value:g}{' |h|' if self.relative else ''}"
        rule = self.positions if isinstance(self.positions, str) else ",".join(map(str, self.positions))
        return f"{self.operation}{value}: {what}{where}, positions {rule}"

    def _component_problems(self) -> list[str]:
        if (self.latent is None) == (self.direction is None):
            return ["an edit takes either a latent or a direction, not both and not neither"]
        if self.direction is None:
            return [f"site '{self.site}' is given, but a latent is edited at its dictionary's site"] if self.site else []
        problems = [] if self.site else ["a direction needs a site, like layers.14"]
        problems += [f"dictionary '{self.dictionary}' is given, but a direction has none"] if self.dictionary else []
        bad = sum(not math.isfinite(x) for x in self.direction)
        problems += [f"{bad} of {len(self.direction)} numbers of the direction are not finite"] if bad else []
        if not bad and not any(self.direction):
            problems.append("the direction is all zeros (or empty), so it points nowhere")
        return problems

    def _value_problems(self) -> list[str]:
        problems = []
        if self.value is None and self.operation in NEEDS_VALUE and self.operation != "ablate_mean":
            problems.append(f"operation '{self.operation}' needs a value")
        if self.value is not None and self.operation not in NEEDS_VALUE:
            problems.append(f"operation '{self.operation}' takes no value, found {self.value}")
        if self.value is not None and not math.isfinite(self.value):
            problems.append(f"value is {self.value}, wanted a finite number")
        if self.relative and self.operation != "add":
            problems.append(f"relative belongs to operation 'add', found '{self.operation}'")
        return problems
