"""features.json made ready to print: windows round the peak, shades, visible tokens."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pellucid.core.errors import FileFormatError
from pellucid.core.files import read_json
from pellucid.web.text import chip, in_line, visible

FEATURES, EXAMPLES, EFFECTS = 60, 4, 8
"""Shown per dictionary; per feature; and per direction of the logits."""
BEFORE, AFTER = 22, 9
"""Tokens shown before and after the peak."""
HEADS, LEAST_SHARE = 3, 0.05
"""Heads named of an atom at most, and the least share of it that is named."""
SHADES = 9
"""Steps of shading, as in style.css."""


@dataclass(frozen=True)
class Piece:
    """A stretch of an example: one active token, or all inactive tokens between two."""

    text: str
    shade: int = 0
    """0 is inactive; 1 to SHADES by activation / the feature's greatest."""
    value: str = ""
    """The exact activation."""
    peak: bool = False


@dataclass(frozen=True)
class FeatureCard:
    """One latent as the page shows it."""

    latent: int
    density: str
    maximum: str
    examples: list[list[Piece]]
    raises: list[tuple[str, str]]
    lowers: list[tuple[str, str]]
    heads: str
    """Heads that the atom is written at and their shares, largest first; empty where the site is not made of heads."""
    search: str
    """Lower-case text the filter box looks in: tokens of the examples that activate, and raised and lowered tokens."""


@dataclass(frozen=True)
class FeatureSample:
    """The features of one dictionary."""

    cards: list[FeatureCard]
    total: int


def read_features(run: Path) -> dict[str, FeatureSample]:
    """Read RUN/features.json; FileFormatError names the entry that has another form."""
    path = run / "features.json"
    entries = read_json(path)
    if not isinstance(entries, dict) or not all(isinstance(value, list) for value in entries.values()):
        raise FileFormatError(f"{path}: wanted an object of lists of features, one list per dictionary")
    out = {}
    for name, features in entries.items():
        cards = []
        for index, feature in enumerate(features[:FEATURES]):
            try:
                cards.append(_card(feature))
            except (KeyError, TypeError, ValueError, IndexError) as error:
                raise FileFormatError(f"{path}: feature {index} of '{name}' has another form: {error!r}") from None
        out[name] = FeatureSample(cards, len(features))
    return out


def _card(feature: dict[str, Any]) -> FeatureCard:
    examples = feature["examples"][:EXAMPLES]
    top = max(float(feature["max"]), *(abs(float(a)) for e in examples for a in e["activations"]), 0.0)
    raises, lowers = (_effects(feature.get(key) or []) for key in ("raises", "lowers"))
    active = [token for e in examples for token, a in zip(e["tokens"], e["activations"], strict=True) if a]
    words = [*active, *(str(pair[0]) for key in ("raises", "lowers") for pair in (feature.get(key) or [])[:EFFECTS])]
    density = feature.get("density")
    return FeatureCard(
        latent=int(feature["latent"]),
        density="" if density is None else _share(float(density)),
        maximum=f"{float(feature['max']):.3g}",
        examples=[pieces(e["tokens"], e["activations"], int(e["peak"]), top) for e in examples],
        raises=raises,
        lowers=lowers,
        heads=_heads([float(share) for share in feature.get("heads") or []]),
        search=" ".join(dict.fromkeys(visible(word).strip().lower() for word in words)),
    )


def pieces(tokens: list[str], activations: list[float], peak: int, top: float, *, whole: bool = False) -> list[Piece]:
    """Cut an example to a window round its peak (or keep it `whole`); neighbouring inactive tokens become one piece.

    Raises ValueError if lengths differ, the peak is outside, or an activation is not finite.
    """
    if len(tokens) != len(activations) or not 0 <= peak < len(tokens):
        raise ValueError(f"{len(tokens)} tokens, {len(activations)} activations, peak {peak}")
    if not all(math.isfinite(a) for a in activations):
        raise ValueError("an activation is not a finite number")
    start, stop = (0, len(tokens)) if whole else (max(0, peak - BEFORE), min(len(tokens), peak + AFTER + 1))
    out = [Piece("\u2026 ")] if start else []
    for index in range(start, stop):
        text, value = in_line(str(tokens[index])), float(activations[index])
        if value or index == peak:
            share = abs(value) / top if top else 0.0
            shade = min(SHADES, max(1, math.ceil(share * SHADES))) if value else 0
            out.append(Piece(text, shade, f"{value:.6g}", index == peak))
        elif out and not out[-1].value:
            out[-1] = Piece(out[-1].text + text)
        else:
            out.append(Piece(text))
    return [*out, Piece(" \u2026")] if stop < len(tokens) else out


def _effects(pairs: list[Any]) -> list[tuple[str, str]]:
    return [(chip(str(token)), f"{float(value):+.3g}") for token, value in pairs[:EFFECTS]]


def _heads(shares: list[float]) -> str:
    largest = sorted(enumerate(shares), key=lambda pair: -pair[1])[:HEADS]
    return ", ".join(f"head {head} {share:.0%}" for head, share in largest if share >= LEAST_SHARE)


def _share(density: float) -> str:
    """A density in words a person compares at once."""
    if density <= 0:
        return "never seen firing"
    return f"{density:.1%} of tokens" if density >= 0.01 else f"1 in {1 / density:,.0f} tokens"
