"""Everything about one feature."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from pellucid.core.errors import FileFormatError
from pellucid.web import charts
from pellucid.web.explorer.columns import COLUMNS, text_of
from pellucid.web.explorer.examples_view import groups
from pellucid.web.explorer.explored import ExploredRun, UnknownPage
from pellucid.web.explorer.features import Features
from pellucid.web.explorer.links import Links
from pellucid.web.explorer.list_page import lines
from pellucid.web.explorer.listing import PAGE_ROWS, Listing
from pellucid.web.features_view import SHADES
from pellucid.web.text import chip

FACTS = ("firing_rate", "firings", "mean", "max", "twin")


def values(run: ExploredRun, name: str, latent: int, listing: Listing, at: int | None, links: Links) -> dict[str, Any]:
    """Return what the template shows; raises UnknownPage if there is no such latent, FileFormatError if a table is broken."""
    features = run.of(name)
    if not 0 <= latent < features.n_latents:
        raise UnknownPage(f"dictionary '{name}' has latents 0 to {features.n_latents - 1}, not {latent}")
    row = features.latent(latent)
    top = float(row["max"] or 0.0)
    statistics = features.statistics(listing.explainer)
    try:
        return {
            "name": name,
            "latent": latent,
            "about": features.about,
            "facts": [(COLUMNS[key], text_of(key, statistics.value(key, latent))) for key in FACTS],
            "explanations": _explanations(features, latent),
            "histogram": _histogram(row, top),
            "quantiles": [(f"{10 * i} %", f"{value:.3g}") for i, value in enumerate(row["quantiles"] or ())],
            "raises": _effects(row["raises"], row["raises_effect"]),
            "lowers": _effects(row["lowers"], row["lowers_effect"]),
            "effect": _effect(row),
            "cofiring": _neighbours(features, row["cofiring"], row["cofiring_score"], links, listing),
            "nearest": _neighbours(features, row["nearest"], row["nearest_cosine"], links, listing),
            "groups": groups(features.examples(latent), top),
            "shades": range(1, SHADES + 1),
            "top": f"{top:.3g}",
            "back": links.features(name, _page_of(listing, at)),
            "try_it": links.try_it(name, f"{latent}:add:{max(1.0, float(f'{top:.2g}')):g}"),
            "reading": links.live and features.reading,
            "held_out": run.manifest["held_out_rows"],
            **_turns(features, latent, listing, at, links),
        }
    except (TypeError, ValueError, IndexError) as error:
        if isinstance(error, FileFormatError):
            raise
        raise FileFormatError(f"the index of '{name}' has another form at latent {latent}: {error}. Make it again.") from None


def _page_of(listing: Listing, at: int | None) -> Listing:
    return listing if at is None else listing.at_page(1 + (at - 1) // PAGE_ROWS)


def _turns(features: Features, latent: int, listing: Listing, at: int | None, links: Links) -> dict[str, Any]:
    """The features before and after: in the list it was opened from, else by number."""
    found = features.find(listing) if at is not None and links.live else None
    if found is None or at is None or not (1 <= at <= len(found) and found[at - 1] == latent):
        before, after = (
            links.feature(features.name, i) if 0 <= i < features.n_latents else "" for i in (latent - 1, latent + 1)
        )
        return {"before": before, "after": after, "place": ""}
    before = links.feature(features.name, int(found[at - 2]), listing, at - 1) if at > 1 else ""
    after = links.feature(features.name, int(found[at]), listing, at + 1) if at < len(found) else ""
    return {"before": before, "after": after, "place": f"{at:,} of {len(found):,} in the list"}


def _explanations(features: Features, latent: int) -> list[dict[str, Any]]:
    out = []
    for explainer in features.explainers():
        found = features.explanations(explainer)
        if found is not None and (text := found.text(latent)) is not None:
            out.append({"explainer": explainer, "text": text, "scores": found.scores(latent)})
    return out


def _histogram(row: dict[str, Any], top: float) -> str:
    counts = [float(count) for count in row["histogram"] or ()]
    if not counts or not top > 0 or not math.isfinite(top):
        return ""
    edges = [top * i / len(counts) for i in range(len(counts) + 1)]
    return charts.histogram(edges, counts, "activation", 2, counted="positions")


def _effects(tokens: Sequence[str] | None, effects: Sequence[float] | None) -> list[dict[str, Any]]:
    """Tokens with their effects, each with the tenth of the greatest it reaches: the length of its bar."""
    pairs = list(zip(tokens or (), effects or (), strict=True))
    greatest = max((abs(effect) for _, effect in pairs), default=0.0) or 1.0
    return [
        {"token": chip(token), "effect": f"{effect:+.3g}", "tenths": math.ceil(10 * abs(effect) / greatest)}
        for token, effect in pairs
    ]


def _effect(row: dict[str, Any]) -> dict[str, str] | None:
    if row["effect_kl"] is None:
        return None
    return {
        "kl": f"{row['effect_kl']:.3g}",
        "ce": "\u2013" if row["effect_ce"] is None else f"{row['effect_ce']:+.3g}",
        "positions": f"{row['effect_positions'] or 0:,}",
    }


def _neighbours(
    features: Features, latents: Sequence[int] | None, scores: Sequence[float] | None, links: Links, listing: Listing
) -> list[tuple[Any, str]]:
    inside = [(i, s) for i, s in zip(latents or (), scores or (), strict=True) if 0 <= i < features.n_latents]
    found = lines(features, [i for i, _ in inside], (), links, Listing(explainer=listing.explainer), wait=0.0)
    return [(one, f"{score:.2f}") for one, (_, score) in zip(found, inside, strict=True)]
