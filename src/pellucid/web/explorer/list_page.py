"""The list of a dictionary's features."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from pellucid.web.explorer.columns import COLUMNS, SHOWN, text_of
from pellucid.web.explorer.examples_view import line
from pellucid.web.explorer.explored import ExploredRun
from pellucid.web.explorer.features import Features
from pellucid.web.explorer.links import Links
from pellucid.web.explorer.listing import LONGEST_SEARCH, PAGE_ROWS, SCOPES, Listing
from pellucid.web.features_view import Piece

ALL = Listing()


@dataclass(frozen=True)
class Line:
    """A feature in a list."""

    latent: int
    link: str
    explanation: str | None
    example: list[Piece]
    cells: list[tuple[str, str]]
    """Column and text."""
    raw: dict[str, float | None]
    """Numbers by column."""


def values(run: ExploredRun, name: str, listing: Listing, links: Links) -> dict[str, Any]:
    """Return what the template shows; raises ConfigError if the list asks for what is not there."""
    features = run.of(name)
    statistics = features.statistics(listing.explainer)
    found = features.find(listing)
    order = listing if listing.sort else features.default_order(statistics)
    pages = max(1, -(-len(found) // PAGE_ROWS))
    page = min(listing.page, pages)
    shown = found[(page - 1) * PAGE_ROWS : page * PAGE_ROWS].tolist()
    columns = [*SHOWN, *([order.sort] if order.sort not in SHOWN else [])]
    columns = [key for key in columns if key in ("latent", order.sort) or statistics.known(key)]
    return {
        "name": name,
        "listing": listing,
        "order": order,
        "scopes": SCOPES,
        "longest": LONGEST_SEARCH,
        "columns": [_heading(name, key, listing, order, links) for key in columns],
        "sortable": [COLUMNS[key] for key in COLUMNS if key == order.sort or statistics.known(key)],
        "explainers": features.explainers(),
        "filters": [(one.describe(), one.to_text(), links.features(name, listing.without(one))) for one in listing.filters],
        "rows": lines(features, shown, columns, links, listing, (page - 1) * PAGE_ROWS),
        "reading": links.live and features.reading,
        "total": f"{len(found):,}",
        "all": f"{features.n_latents:,}",
        "page": page,
        "pages": pages,
        "turn": _turns(name, listing, page, pages, links),
        "dictionaries": [(other, links.features(other), other == name) for other in run.features],
        "clear": links.features(name),
    }


def whole(run: ExploredRun, name: str, latents: Sequence[int], links: Links) -> dict[str, Any]:
    """Return what the template shows in a file: all of some latents on one page, sorted and searched by the page itself."""
    features = run.of(name)
    shown = values(run, name, Listing(), links)
    columns = [column["key"] for column in shown["columns"]]
    rows = lines(features, latents, columns, links)
    for column in shown["columns"]:
        column["state"] = ""
    return shown | {"rows": rows, "total": f"{len(rows):,}", "pages": 1}


def lines(
    features: Features,
    latents: Sequence[int],
    columns: Sequence[str],
    links: Links,
    listing: Listing = ALL,
    first: int | None = None,
    wait: float = 0.1,
) -> list[Line]:
    """Return features as lines; in a list (`first` is the place of the first of them in it) they link to their place.

    While the examples' texts are still being read, a live page waits for them so many seconds.
    """
    explanations, statistics = features.explanations(listing.explainer), features.statistics(listing.explainer)
    patience = wait if links.live else None
    out = []
    for place, latent in enumerate(latents):
        out.append(
            Line(
                latent,
                links.feature(features.name, latent, *(() if first is None else (listing, first + place + 1))),
                explanations.text(latent) if explanations else None,
                line(features.best(latent, patience)),
                [(key, text_of(key, statistics.value(key, latent))) for key in columns],
                {key: statistics.value(key, latent) for key in columns},
            )
        )
        patience = 0.0 if links.live else None
    return out


def _heading(name: str, key: str, listing: Listing, order: Listing, links: Links) -> dict[str, Any]:
    again = replace(listing, sort=order.sort, descending=order.descending).sorted_by(key)
    state = "" if key != order.sort else "descending" if order.descending else "ascending"
    column = COLUMNS[key]
    return {
        "key": key,
        "title": column.title,
        "definition": column.definition,
        "link": links.features(name, again),
        "state": state,
    }


def _turns(name: str, listing: Listing, page: int, pages: int, links: Links) -> dict[str, str]:
    wanted = {"first": 1, "previous": page - 1, "next": page + 1, "last": pages}
    return {
        word: links.features(name, replace(listing, page=number)) if 1 <= number <= pages and number != page else ""
        for word, number in wanted.items()
    }
