"""Which positions of a text an edit acts on, the same with and without a cache of earlier positions."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Bool
from torch import Tensor

NAMED = ("all", "prompt", "last", "from_end", "fires")
_SLICE = re.compile(r"^(-?\d+)?:(-?\d+)?$")
_LIST = re.compile(r"^-?\d+(,-?\d+)*$")


@dataclass(frozen=True)
class Rule:
    """A position rule that has been read."""

    kind: Literal["all", "prompt", "last", "from_end", "fires", "slice", "list"]
    start: int | None = None
    stop: int | None = None
    indices: tuple[int, ...] = ()


@dataclass(frozen=True)
class Span:
    """The stretch of a text that one call of a host computes.

    With a cache of keys and values a call computes the positions after the cached ones, so rules are about absolute
    positions and about the length of the prompt, never about the shape of the value at hand.
    """

    prompt: int
    """Positions of the prompt; a text that is only scored is all prompt."""
    first: int
    """Absolute position of the first one computed."""
    n: int
    """Positions computed."""
    exclude_first: int = 0
    """Positions at the start that rules without a number leave alone: the attention sink, which no dictionary sees."""


def parse(positions: str | tuple[int, ...]) -> tuple[Rule | None, str]:
    """Return the rule, or None and what is wrong with it."""
    if not isinstance(positions, str):
        return (Rule("list", indices=positions), "") if positions else (None, "positions is an empty list, wanted an index")
    text = positions.replace(" ", "")
    for kind in ("all", "prompt", "last", "from_end", "fires"):
        if text == kind:
            return Rule(kind), ""
    if match := _SLICE.match(text):
        start, stop = (None if part is None else int(part) for part in match.groups())
        return Rule("slice", start, stop), ""
    if _LIST.match(text):
        return Rule("list", indices=tuple(int(part) for part in text.split(","))), ""
    return None, f"positions '{positions}' cannot be read; write {', '.join(NAMED)}, a slice like 2:6, or indices like 3,5,-1"


def select(rule: Rule, span: Span) -> Bool[Tensor, " n"]:
    """Return which positions of the span the rule names; 'fires' names all, its codes decide among them."""
    at = torch.arange(span.first, span.first + span.n)
    if rule.kind == "last":
        return at == span.prompt - 1
    if rule.kind == "from_end":
        return at >= span.prompt - 1
    if rule.kind == "list":
        return torch.isin(at, torch.tensor([_absolute(index, span.prompt) for index in rule.indices]))
    if rule.kind == "slice":
        start = 0 if rule.start is None else _absolute(rule.start, span.prompt)
        stop = span.first + span.n if rule.stop is None else _absolute(rule.stop, span.prompt)
        return (at >= start) & (at < stop)
    within = at >= span.exclude_first
    return within & (at < span.prompt) if rule.kind == "prompt" else within


def outside(rule: Rule, prompt: int, total: int) -> str:
    """Return what is wrong if the rule names positions that a text of `total` positions never has; else ''."""
    if rule.kind == "list":
        bad = [index for index in rule.indices if not 0 <= _absolute(index, prompt) < total]
        if bad:
            return f"positions {bad} are outside the text, which has positions 0 to {total - 1} (-1 to -{prompt} from its end)"
    if rule.kind == "slice" and not bool(select(rule, Span(prompt, 0, total)).any()):
        stated = f"{'' if rule.start is None else rule.start}:{'' if rule.stop is None else rule.stop}"
        return f"the slice {stated} holds no position of the text, which has positions 0 to {total - 1}"
    return ""


def _absolute(index: int, prompt: int) -> int:
    return index if index >= 0 else prompt + index
