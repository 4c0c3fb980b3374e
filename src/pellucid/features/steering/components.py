"""What edits act on: the code of a latent, or the coordinate along a direction, at every position."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from pellucid.dictionaries import Dictionary, inference
from pellucid.features.steering.edit import Edit
from pellucid.features.steering.positions import Rule, Span, parse, select

DICTIONARY_ROWS = 4096
"""Positions encoded at once, so that the dense codes of a wide dictionary stay small."""


@dataclass(frozen=True)
class Component:
    """One latent or direction and its edits, sorted, so that the order of a list changes no bit."""

    row: Float[Tensor, " d"]
    """What one unit of the code adds."""
    edits: tuple[Edit, ...]
    dictionary: str = ""
    latent: int = -1


def sorted_edits(edits: Sequence[Edit]) -> tuple[Edit, ...]:
    """Return the edits in an order that depends on them alone."""
    return tuple(sorted(edits, key=lambda edit: edit.model_dump_json()))


def rule_of(edit: Edit) -> Rule:
    """Return the edit's position rule, which was checked when the edit was made."""
    rule, problem = parse(edit.positions)
    assert rule is not None, problem
    return rule


def codes_of(
    x: Float[Tensor, "b n d"], components: Sequence[Component], dictionaries: Mapping[str, Dictionary]
) -> Float[Tensor, "b n k"]:
    """Return the code of every component at every position: of the latent, or x.d / d.d for a direction d."""
    codes = x.new_empty(*x.shape[:-1], len(components))
    for place, component in enumerate(components):
        if not component.dictionary:
            codes[..., place] = x @ component.row / component.row.square().sum()
    rows = x.reshape(-1, x.shape[-1])
    for name in dict.fromkeys(c.dictionary for c in components if c.dictionary):
        places = [i for i, c in enumerate(components) if c.dictionary == name]
        latents = torch.tensor([components[i].latent for i in places], device=x.device)
        with inference([dictionaries[name]]):
            found = torch.cat([dictionaries[name].encode(part)[:, latents] for part in rows.split(DICTIONARY_ROWS)])
        codes[..., places] = found.reshape(*x.shape[:-1], len(places)).to(codes.dtype)
    return codes


def changed(
    x: Float[Tensor, "b n d"],
    components: Sequence[Component],
    codes: Float[Tensor, "b n k"],
    span: Span,
    keep: Bool[Tensor, "b n"],
) -> tuple[Float[Tensor, "b n d"], Bool[Tensor, "b n"]]:
    """Return x after the edits of codes, and at which positions it was edited.

    At each position a code is set or scaled, then added to; then x + sum over components of (new code - code) * row.
    """
    lengths = x.norm(dim=-1)
    touched = torch.zeros_like(keep)
    total = torch.zeros_like(x)
    for place, component in enumerate(components):
        code = codes[..., place]
        new, step = code.clone(), torch.zeros_like(code)
        for edit in component.edits:
            if edit.operation == "ablate_direction":
                continue
            mask = where(edit, span, code, keep)
            touched |= mask
            value = 0.0 if edit.value is None else edit.value
            if edit.sets:
                new = torch.where(mask, value, new)
            elif edit.operation == "scale":
                new = torch.where(mask, value * new, new)
            else:
                unit = lengths / component.row.norm() if edit.relative else torch.ones_like(code)
                step = torch.where(mask, step + value * unit, step)
        total += (new - code + step).unsqueeze(-1) * component.row
    return x + total, touched


def projected(
    x: Float[Tensor, "b n d"],
    components: Sequence[Component],
    codes: Float[Tensor, "b n k"],
    span: Span,
    keep: Bool[Tensor, "b n"],
) -> tuple[Float[Tensor, "b n d"], Bool[Tensor, "b n"]]:
    """Return x without its part in the span of the directions ablated at each position, and where that is any."""
    rows, masks = [], []
    for place, component in enumerate(components):
        for edit in component.edits:
            if edit.operation == "ablate_direction":
                rows.append(component.row)
                masks.append(where(edit, span, codes[..., place], keep))
    if not rows:
        return x, torch.zeros_like(keep)
    every = torch.stack(rows).double()
    which = torch.stack(masks, dim=-1)
    x = x.clone()
    for pattern in which.reshape(-1, len(rows)).unique(dim=0):
        if bool(pattern.any()):
            here = (which == pattern).all(dim=-1)
            directions = torch.nn.functional.normalize(every[pattern], dim=-1)
            part = x[here].double() @ torch.linalg.pinv(directions) @ directions
            x[here] = (x[here].double() - part).to(x.dtype)
    return x, which.any(dim=-1)


def where(edit: Edit, span: Span, code: Float[Tensor, "b n"], keep: Bool[Tensor, "b n"]) -> Bool[Tensor, "b n"]:
    """Return at which positions an edit acts."""
    rule = rule_of(edit)
    mask = select(rule, span).to(code.device) & keep
    return mask & (code > 0) if rule.kind == "fires" else mask
