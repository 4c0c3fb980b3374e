"""Two dictionaries beside each other: features both have, and features only one has."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from pellucid.core.errors import ConfigError, did_you_mean
from pellucid.web import charts
from pellucid.web.explorer.columns import COLUMNS, SHOWN
from pellucid.web.explorer.explored import ExploredRun
from pellucid.web.explorer.features import Features
from pellucid.web.explorer.links import Links
from pellucid.web.explorer.list_page import lines
from pellucid.web.explorer.listing import PAGE_ROWS, Listing
from pellucid.web.explorer.matching import Nearest

LEAST = 0.7
"""Cosine from which two features count as the same, unless the page is asked for another."""
SHOW = {"only": "only in one", "matched": "in both"}
EDGES = [i / 20 for i in range(-4, 21)]


@dataclass(frozen=True)
class Comparison:
    """What is asked: features of b, each with its nearest in a."""

    a: str
    b: str
    show: str = "only"
    least: float = LEAST
    sort: str = ""
    page: int = 1

    @classmethod
    def parse(cls, run: ExploredRun, values: dict[str, str]) -> Comparison:
        """Read the parameters of an address; ConfigError names the one that does not fit, UnknownPage the dictionary."""
        names = list(run.features)
        a = run.of(values.get("a") or names[0]).name
        b = run.of(values.get("b") or next((name for name in names if name != a), a)).name
        show, sort = values.get("show") or "only", values.get("sort", "")
        if show not in SHOW:
            raise ConfigError(f"a comparison shows '{show[:80]}'? Wanted one of: {', '.join(SHOW)}")
        if sort and sort != "cosine" and sort not in COLUMNS:
            raise ConfigError(f"there is no statistic '{sort[:80]}'.{did_you_mean(sort[:80], COLUMNS)}")
        try:
            least = float(values.get("least") or LEAST)
        except ValueError:
            least = math.nan
        if not -1 <= least <= 1:
            raise ConfigError(f"least is '{values['least'][:80]}', wanted a cosine from -1 to 1")
        page = values.get("page") or "1"
        if not page.isdecimal() or not int(page[:9]) >= 1:
            raise ConfigError(f"page is '{page[:80]}', wanted a number from 1")
        return cls(a, b, show, least, sort, int(page[:9]))

    def link(self, links: Links, **other: Any) -> str:
        """Return the address of the comparison with some parameters changed."""
        values: dict[str, Any] = {"show": self.show, "least": f"{self.least:g}", "sort": self.sort, "page": self.page}
        values |= other
        a, b = values.pop("a", self.a), values.pop("b", self.b)
        default = {"show": "only", "least": f"{LEAST:g}", "sort": "", "page": 1}
        return links.compare(a, b, **{key: str(value) for key, value in values.items() if value != default[key]})


def values(run: ExploredRun, asked: Comparison, links: Links, rows: int = PAGE_ROWS) -> dict[str, Any]:
    """Return what the template shows; raises RunError if the two cannot be matched."""
    base = {
        "asked": asked,
        "names": list(run.features),
        "shows": [(key, words, asked.link(links, show=key, page=1), key == asked.show) for key, words in SHOW.items()],
        "swap": asked.link(links, a=asked.b, b=asked.a, page=1),
        "pairs": [(a, b, links.compare(a, b)) for a in run.features for b in run.features if a != b],
    }
    if len(run.features) < 2:
        return base | {"done": None, "problem": "This run has one dictionary: there is nothing to compare it with."}
    if asked.a == asked.b:
        return base | {"done": None, "problem": "Choose two different dictionaries."}
    found = run.matchings.get(asked.a, asked.b, wait=not links.live)
    if isinstance(found, float):
        return base | {"done": found, "problem": ""}
    return base | {"done": 1.0, "problem": ""} | _lists(run, asked, links, found[1], rows)


def _lists(run: ExploredRun, asked: Comparison, links: Links, nearest: Nearest, rows: int) -> dict[str, Any]:
    one, other = run.of(asked.b), run.of(asked.a)
    statistics = one.statistics()
    alive = statistics.columns["firing_rate"] > 0
    same = nearest.cosines >= np.float32(asked.least)
    wanted = alive & (same if asked.show == "matched" else ~same)
    sort = asked.sort or ("cosine" if asked.show == "matched" else one.default_order(statistics).sort)
    order = _by_cosine(nearest) if sort == "cosine" else statistics.order(sort, sort != "latent")
    found = order[wanted[order]]
    pages = max(1, -(-len(found) // rows))
    page = min(asked.page, pages)
    shown = found[(page - 1) * rows : page * rows].tolist()
    return {
        "pairs_shown": _pairs(one, other, nearest, shown, links),
        "sort": sort,
        "sortable": ["cosine", *(key for key in COLUMNS if statistics.known(key))],
        "counts": {"only": int((alive & ~same).sum()), "matched": int((alive & same).sum()), "silent": int((~alive).sum())},
        "histogram": _histogram(nearest, alive),
        **_stricter(asked, links, nearest.cosines[alive]),
        "page": page,
        "pages": pages,
        "turn": {
            "previous": asked.link(links, page=page - 1) if page > 1 and links.live else "",
            "next": asked.link(links, page=page + 1) if page < pages and links.live else "",
        },
        "total": len(found),
        "titles": {key: COLUMNS[key].title for key in COLUMNS},
    }


def _stricter(asked: Comparison, links: Links, cosines: np.ndarray) -> dict[str, Any]:
    """A cosine that leaves the least alike tenth of the features, for when none falls below the one asked for."""
    if len(cosines) == 0:
        return {"lowest": None, "strict": "", "stricter": ""}
    tenth = f"{min(1.0, float(np.quantile(cosines, 0.1)) + 0.005):.2f}"
    return {"lowest": float(cosines.min()), "strict": asked.link(links, least=tenth, page=1), "stricter": tenth}


def _pairs(one: Features, other: Features, nearest: Nearest, shown: list[int], links: Links) -> list[dict[str, Any]]:
    partners = [int(nearest.latents[latent]) for latent in shown]
    columns = [key for key in SHOWN if key != "latent"]
    left, right = lines(one, shown, columns, links, Listing()), lines(other, partners, columns, links, Listing())
    return [
        {"one": a, "other": b, "cosine": f"{nearest.cosines[latent]:.2f}"}
        for a, b, latent in zip(left, right, shown, strict=True)
    ]


def _by_cosine(nearest: Nearest) -> np.ndarray:
    return np.argsort(-nearest.cosines, kind="stable").astype(np.int32)


def _histogram(nearest: Nearest, alive: np.ndarray) -> str:
    counts = np.histogram(nearest.cosines[alive].clip(EDGES[0], EDGES[-1]), EDGES)[0].astype(float).tolist()
    return charts.histogram(EDGES, counts, "cosine with the nearest atom", 2)
