"""Addresses of the pages: of the running explorer, or of files in an exported folder."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol, runtime_checkable
from urllib.parse import quote, urlencode

from pellucid.web.explorer.listing import Listing


@runtime_checkable
class Links(Protocol):
    """Where each page is; an empty address means that there is no such page."""

    live: bool
    """True if a server answers: searches, other pages of a list and the host are there."""

    def overview(self) -> str:
        """Return the address of the first page."""

    def features(self, name: str, listing: Listing | None = None) -> str:
        """Return the address of a dictionary's list of features."""

    def feature(self, name: str, latent: int, listing: Listing | None = None, at: int | None = None) -> str:
        """Return the address of a feature; `listing` and `at` say which place of which list it was opened from."""

    def compare(self, a: str, b: str, **more: str) -> str:
        """Return the address of a comparison."""

    def try_it(self, name: str = "", change: str = "") -> str:
        """Return the address of the page with the host, a change to a feature already chosen."""

    def asset(self, file: str) -> str:
        """Return the address of a style sheet or script."""


class LiveLinks:
    """Addresses of the running explorer."""

    live = True

    def overview(self) -> str:
        """Return the address of the first page."""
        return "/"

    def features(self, name: str, listing: Listing | None = None) -> str:
        """Return the address of a dictionary's list of features."""
        return f"/features/{quote(name, safe='')}{(listing or Listing()).address()}"

    def feature(self, name: str, latent: int, listing: Listing | None = None, at: int | None = None) -> str:
        """Return the address of a feature."""
        extra: Sequence[tuple[str, str]] = [] if at is None else [("at", str(at))]
        return f"/feature/{quote(name, safe='')}/{latent}{(listing or Listing()).address(extra)}"

    def compare(self, a: str, b: str, **more: str) -> str:
        """Return the address of a comparison."""
        return "/compare?" + urlencode({"a": a, "b": b, **more})

    def try_it(self, name: str = "", change: str = "") -> str:
        """Return the address of the page with the host."""
        pairs = [(key, value) for key, value in (("dictionary", name), ("change", change)) if value]
        return "/try" + ("?" + urlencode(pairs) if pairs else "")

    def asset(self, file: str) -> str:
        """Return the address of a style sheet or script."""
        return f"/static/{file}"


class FileLinks:
    """Names of the files of an exported folder: numbers, so that no name of a dictionary reaches the file system."""

    live = False

    def __init__(self, exported: Mapping[str, frozenset[int]]) -> None:
        """Take the latents exported, by dictionary in order."""
        self._exported = exported
        self._number = {name: i for i, name in enumerate(exported)}

    def overview(self) -> str:
        """Return the file of the first page."""
        return "index.html"

    def features(self, name: str, listing: Listing | None = None) -> str:
        """Return the file of a dictionary's list, which holds all that was exported."""
        return f"features-{self._number[name]}.html"

    def feature(self, name: str, latent: int, listing: Listing | None = None, at: int | None = None) -> str:
        """Return the file of a feature; empty if it was not exported."""
        there = latent in self._exported[name]
        return f"feature-{self._number[name]}-{latent}.html" if there else ""

    def compare(self, a: str, b: str, **more: str) -> str:
        """Return the file of a comparison, one for each kind of list."""
        return f"compare-{self._number[a]}-{self._number[b]}-{more.get('show', 'only')}.html"

    def try_it(self, name: str = "", change: str = "") -> str:
        """Return the file that says how to start the explorer."""
        return "try.html"

    def asset(self, file: str) -> str:
        """Return the file of a style sheet or script."""
        return f"static/{file}"
