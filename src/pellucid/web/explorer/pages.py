"""Templates of the explorer, rendered with the same frame for the server and for files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pellucid.web.explorer.explored import ExploredRun
from pellucid.web.explorer.links import Links
from pellucid.web.explorer.security import FILE_POLICY
from pellucid.web.rendering import TEMPLATES, environment

HERE = Path(__file__).parent
ASSETS = {
    "style.css": TEMPLATES / "style.css",
    "tips.js": TEMPLATES / "script.js",
    **{name: HERE / "static" / name for name in ("explorer.css", "theme.js", "explorer.js", "try.js")},
}
"""Files a page may load, by the name it loads them under: no other is ever served."""


class Pages:
    """Renders pages of a run."""

    def __init__(self, run: ExploredRun, links: Links) -> None:
        """Take the run and its addresses; PellucidError if jinja2 is not installed."""
        self.run, self.links = run, links
        self._environment = environment(HERE / "templates", TEMPLATES)

    def render(self, template: str, here: str, title: str, values: dict[str, Any]) -> str:
        """Return a page as HTML; `here` names the entry of the menu it belongs to."""
        frame = {
            "run_title": self.run.title,
            "links": self.links,
            "policy": "" if self.links.live else FILE_POLICY,
            "menu": self._menu(values.get("name", "")),
            "here": here,
            "page_title": title,
        }
        html = self._environment.get_template(template).render({**values, **frame})
        # A lone surrogate in a name cannot be written as UTF-8.
        return html.encode("utf-8", "backslashreplace").decode("utf-8")

    def _menu(self, name: str) -> list[tuple[str, str, str, str]]:
        """Entries of the menu: key, words, address and letter; those of features lead to the dictionary at hand."""
        names = list(self.run.features)
        name = name if name in names else names[0]
        others = [other for other in names if other != name]
        compare = (
            [("compare", "Compare", self.links.compare(names[0] if name != names[0] else others[0], name), "c")]
            if others
            else []
        )
        return [
            ("overview", "Overview", self.links.overview(), "o"),
            ("features", "Features", self.links.features(name), "f"),
            *compare,
            ("try", "Try it", self.links.try_it(name), "t"),
        ]

    def message(self, title: str, text: str) -> str:
        """Return a page that says what went wrong."""
        return self.render("message.html", "", title, {"heading": title, "text": text})
