"""What a list of features asks for, and its form as a link: the whole state of the page is in the address."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from urllib.parse import urlencode

from pellucid.core.errors import did_you_mean, raise_all
from pellucid.web.explorer.columns import COLUMNS

SCOPES = {
    "all": "everywhere",
    "explanations": "in explanations",
    "examples": "in examples",
    "peaks": "in the tokens it peaks on",
}
"""Where a search looks."""
PAGE_ROWS = 25
LONGEST_SEARCH = 200
"""Characters of a search."""
LARGEST_PAGE = 10**9


@dataclass(frozen=True)
class Filter:
    """A statistic held within bounds; None is no bound. Latents without the statistic are left out."""

    column: str
    low: float | None
    high: float | None

    def to_text(self) -> str:
        """Return the filter as an address holds it: column:low:high."""
        return ":".join([self.column, *("" if bound is None else f"{bound:.12g}" for bound in (self.low, self.high))])

    def describe(self) -> str:
        """Return the filter in words."""
        title = COLUMNS[self.column].title
        if self.low is None:
            return f"{title} \u2264 {self.high:g}"
        return f"{title} \u2265 {self.low:g}" if self.high is None else f"{self.low:g} \u2264 {title} \u2264 {self.high:g}"


@dataclass(frozen=True)
class Listing:
    """A search, an order, filters and a page."""

    search: str = ""
    scope: str = "all"
    sort: str = ""
    """Column; empty for the default of the dictionary."""
    descending: bool = False
    filters: tuple[Filter, ...] = ()
    explainer: str = ""
    """Whose explanations are shown, searched and sorted by; empty for the default."""
    page: int = 1

    @classmethod
    def parse(cls, pairs: Iterable[tuple[str, str]]) -> Listing:
        """Read the parameters of an address; ConfigError lists all that do not fit. Unknown ones are left alone."""
        values: dict[str, str] = {}
        filters: list[str] = []
        for key, value in pairs:
            if key == "f":
                filters.append(value)
            else:
                values[key] = value
        added = [values.get(key, "").strip() for key in ("column", "from", "to")]
        if added[0] and (added[1] or added[2]):
            filters.append(":".join(added))
        problems: list[str] = []
        sort = values.get("sort", "")
        search, scope = values.get("q", "").strip(), values.get("in", "all")
        if len(search) > LONGEST_SEARCH:
            problems.append(f"the search has {len(search):,} characters; at most {LONGEST_SEARCH} are looked for")
        if scope not in SCOPES:
            problems.append(f"a search cannot look in '{scope[:80]}', only in: {', '.join(SCOPES)}")
        found = cls(
            search=search,
            scope=scope,
            sort=_column(sort.removeprefix("-"), problems) if sort.removeprefix("-") else "",
            descending=sort.startswith("-"),
            filters=tuple(dict.fromkeys(f for f in (_filter(text, problems) for text in filters) if f is not None)),
            explainer=values.get("by", ""),
            page=_page(values.get("page", ""), problems),
        )
        raise_all(problems)
        return found

    def pairs(self) -> list[tuple[str, str]]:
        """Return the parameters that `parse` reads back; defaults are left out."""
        out = [("q", self.search)] if self.search else []
        out += [("in", self.scope)] if self.scope != "all" else []
        out += [("sort", ("-" if self.descending else "") + self.sort)] if self.sort else []
        out += [("f", one.to_text()) for one in self.filters]
        out += [("by", self.explainer)] if self.explainer else []
        return out + ([("page", str(self.page))] if self.page != 1 else [])

    def address(self, extra: Sequence[tuple[str, str]] = ()) -> str:
        """Return the query part of an address, with its question mark; empty if all is default."""
        pairs = [*self.pairs(), *extra]
        return "?" + urlencode(pairs) if pairs else ""

    def sorted_by(self, column: str) -> Listing:
        """Return the list sorted by a column: greatest first, and the other way round if it already is."""
        descending = not self.descending if self.sort == column else column != "latent"
        return replace(self, sort=column, descending=descending, page=1)

    def at_page(self, page: int) -> Listing:
        """Return another page of the list."""
        return replace(self, page=page)

    def without(self, unwanted: Filter) -> Listing:
        """Return the list without one filter."""
        return replace(self, filters=tuple(one for one in self.filters if one != unwanted), page=1)


def _column(name: str, problems: list[str]) -> str:
    if name not in COLUMNS:
        problems.append(f"there is no statistic '{name[:80]}'.{did_you_mean(name[:80], COLUMNS)} Known: {', '.join(COLUMNS)}")
    return name


def _filter(text: str, problems: list[str]) -> Filter | None:
    name, low, high = [*text.split(":"), "", ""][:3]
    bounds: list[float | None] = []
    for bound in (low, high):
        try:
            number = float(bound) if bound else None
        except ValueError:
            number = math.nan
        if number is not None and not math.isfinite(number):
            problems.append(f"the filter '{text[:80]}' holds '{bound[:80]}', wanted a number")
            return None
        bounds.append(number)
    if _column(name, problems) not in COLUMNS or bounds == [None, None]:
        return None
    return Filter(name, *bounds)


def _page(text: str, problems: list[str]) -> int:
    if not text:
        return 1
    if not text.isdecimal() or not 1 <= int(text[:12]) <= LARGEST_PAGE:
        problems.append(f"page is '{text[:80]}', wanted a number from 1")
        return 1
    return int(text[:12])
