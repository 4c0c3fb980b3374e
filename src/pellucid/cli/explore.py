"""The verb that opens a run in a browser."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import tyro

from pellucid.cli.verb import Verb


class Explore(Verb):
    """Look at the features of an indexed run in a browser: search, compare, steer; or write the pages to a folder."""

    run: tyro.conf.Positional[Path] = Path("runs/demo")
    """Run folder with an index ('pellucid index RUN' makes it)."""
    host: str = "127.0.0.1"
    """Address to listen on."""
    elsewhere: bool = False
    """Allow a --host that other machines can reach. There is no password."""
    port: int = 0
    """Port; 0 takes a free one."""
    open: bool = True
    """Open a browser (--no-open: only say the address)."""
    export: Path | None = None
    """Write the pages to this folder instead; they open from disk."""
    features: int = 500
    """Features of each dictionary in an export; 0 is all."""

    def perform(self) -> Any:
        from pellucid.web.explorer import explore, export

        if self.export is not None:
            return {"export": str(export(self.run, self.export, features=self.features))}
        return {"explorer": explore(self.run, host=self.host, port=self.port, elsewhere=self.elsewhere, browser=self.open)}
