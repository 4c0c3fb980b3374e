"""What may be wrong with a list of edits, found before anything runs."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Any

from pellucid.core.errors import SiteError, did_you_mean
from pellucid.dictionaries import Dictionary
from pellucid.features.steering.components import rule_of
from pellucid.features.steering.edit import Edit
from pellucid.features.steering.positions import Span, outside, select
from pellucid.hosts import Host, Site

Dictionaries = Mapping[str, tuple[Dictionary, Site]]


def completed(edit: Edit, dictionaries: Dictionaries) -> Edit:
    """Return the edit with its dictionary named where there is only one."""
    if edit.direction is None and not edit.dictionary and len(dictionaries) == 1:
        return edit.model_copy(update={"dictionary": next(iter(dictionaries))})
    return edit


def unknown_dictionary(name: str, dictionaries: Dictionaries) -> str:
    """Return what to say about a name that no dictionary has."""
    return f"unknown dictionary '{name}'; there are {sorted(dictionaries)}.{did_you_mean(name, dictionaries)}"


def problems_of(
    edits: Sequence[Edit], host: Host, dictionaries: Dictionaries, prompt: int, total: int, exclude_first: int
) -> list[str]:
    """Return a sentence for everything that does not fit: each edit alone, then edits that contradict each other."""
    problems = []
    for edit in edits:
        found = _latent_problem(edit, dictionaries) if edit.direction is None else _site_problem(edit, host, dictionaries)
        found = found or outside(rule_of(edit), prompt, total)
        if not found and edit.operation == "ablate_mean" and edit.value is None:
            found = "needs the mean code as its value; `mean_codes` measures it"
        problems += [f"edit '{edit.describe()}': {found}"] if found else []
    return problems or _contradictions(edits, Span(prompt, 0, total, exclude_first))


def _latent_problem(edit: Edit, dictionaries: Dictionaries) -> str:
    if edit.dictionary not in dictionaries:
        if not edit.dictionary and dictionaries:
            return f"which dictionary is meant? There are {sorted(dictionaries)}"
        return unknown_dictionary(edit.dictionary, dictionaries)
    dictionary = dictionaries[edit.dictionary][0]
    n = dictionary.n_latents
    assert edit.latent is not None
    if not 0 <= edit.latent < n:
        return f"dictionary '{edit.dictionary}' has latents 0 to {n - 1}, got {edit.latent}"
    if not dictionary.additive:
        what = f"the decoder of '{edit.dictionary}' ({dictionary.kind}) is no sum over latents"
        return f"{what}, so a latent has no one direction to change; give a direction and a site"
    return ""


def _site_problem(edit: Edit, host: Host, dictionaries: Dictionaries) -> str:
    try:
        site = host.site(edit.site)
    except SiteError as error:
        return str(error)
    assert edit.direction is not None
    widths = {dictionary.d_in for dictionary, place in dictionaries.values() if place == site}
    if widths and len(edit.direction) not in widths:
        return f"the direction has {len(edit.direction)} numbers, but site '{site}' has {min(widths)} features"
    return ""


def _contradictions(edits: Sequence[Edit], span: Span) -> list[str]:
    """A code cannot be set twice at one position, nor set and scaled; several scales multiply, several adds sum."""
    groups: dict[tuple[Any, ...], list[Edit]] = defaultdict(list)
    for edit in edits:
        if edit.sets or edit.operation == "scale":
            groups[edit.component].append(edit)
    problems = []
    for group in groups.values():
        for one, other in combinations(group, 2):
            both = select(rule_of(one), span) & select(rule_of(other), span)
            if (one.sets or other.sets) and bool(both.any()):
                at = both.nonzero().squeeze(-1).tolist()
                problems.append(
                    f"edits '{one.describe()}' and '{other.describe()}' contradict each other at positions {_some(at)}: "
                    f"only one of them can fix the code. Keep one, or give them other positions"
                )
    return problems


def _some(positions: list[int]) -> str:
    shown = ", ".join(map(str, positions[:8]))
    return shown + (", ..." if len(positions) > 8 else "")
