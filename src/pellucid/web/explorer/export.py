"""The same pages as files in a folder, which open without a server."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from pellucid.core.errors import ConfigError, PellucidError
from pellucid.core.files import atomic_path
from pellucid.core.logging import Ticker
from pellucid.web.explorer import compare_page, feature_page, list_page, overview_page, try_page
from pellucid.web.explorer.compare_page import SHOW, Comparison
from pellucid.web.explorer.explored import ExploredRun
from pellucid.web.explorer.features import Features
from pellucid.web.explorer.links import FileLinks
from pellucid.web.explorer.listing import Listing
from pellucid.web.explorer.pages import ASSETS, Pages

FEATURES = 500
"""Features of each dictionary, unless another number is asked for."""
PAIRS = 200
"""Features listed in a comparison."""
INDEX = "index.html"
MARK = ".pellucid-explorer"
"""File by which an older export is known."""


def export(run: str | Path, folder: str | Path, *, features: int = FEATURES) -> Path:
    """Write the explorer of an indexed run to `folder`; return the page to open.

    Of each dictionary `features` are written (0: all): the explained ones first, then those of the greatest causal effect,
    or firing rate where that was not measured; never those that do not fire. An older export in `folder` is replaced once
    the new one is whole. Raises ConfigError if `folder` holds anything else, RunError if the run has no finished index.
    """
    folder = Path(folder)
    if features < 0:
        raise ConfigError(f"features is {features}, wanted a number from 1, or 0 for all")
    if folder.exists() and not (folder.is_dir() and ((folder / MARK).is_file() or not any(folder.iterdir()))):
        raise ConfigError(f"{folder} holds other files; choose a new or empty folder for the export")
    opened = ExploredRun(run)
    try:
        fresh = folder.with_name(f".{folder.name}.new")
        shutil.rmtree(fresh, ignore_errors=True)
        with atomic_path(fresh) as inner:
            inner.mkdir()
            _write(opened, inner, features)
        if folder.exists():
            shutil.rmtree(folder)
        fresh.rename(folder)
    finally:
        opened.close()
    return folder / INDEX


def _write(run: ExploredRun, folder: Path, n: int) -> None:
    chosen = {name: _chosen(features, n) for name, features in run.features.items()}
    links = FileLinks({name: frozenset(latents) for name, latents in chosen.items()})
    pages = Pages(run, links)
    (folder / "static").mkdir()
    for name, path in ASSETS.items():
        shutil.copyfile(path, folder / links.asset(name))
    (folder / MARK).touch()
    total = len(run.features) * (len(run.features) + 1) + sum(map(len, chosen.values())) + 2
    with Ticker("exporting", total, unit="pages") as ticker:
        for file, template, here, title, values in _pages(run, links, chosen):
            (folder / file).write_text(pages.render(template, here, title, values), encoding="utf-8")
            ticker.advance(1)


def _pages(
    run: ExploredRun, links: FileLinks, chosen: dict[str, list[int]]
) -> Iterator[tuple[str, str, str, str, dict[str, Any]]]:
    yield INDEX, "overview.html", "overview", run.title, overview_page.values(run)
    yield links.try_it(), "try.html", "try", "Try it", try_page.values(run, {}, links)
    for name, latents in chosen.items():
        title = f"Features of {name}"
        yield links.features(name), "features.html", "features", title, list_page.whole(run, name, latents, links)
        for latent in latents:
            values = feature_page.values(run, name, latent, Listing(), None, links)
            yield links.feature(name, latent), "feature.html", "features", f"{latent} of {name}", values
    for a in chosen:
        for b in chosen:
            if a != b:
                yield from _comparisons(run, links, a, b)


def _comparisons(run: ExploredRun, links: FileLinks, a: str, b: str) -> Iterator[tuple[str, str, str, str, dict[str, Any]]]:
    for show in SHOW:
        asked = Comparison(a, b, show)
        try:
            values = compare_page.values(run, asked, links, PAIRS)
            file, template = asked.link(links), "compare.html"
        except PellucidError as error:  # without their weights dictionaries cannot be matched; the rest is still there
            values, template = {"heading": "Not compared", "text": str(error)}, "message.html"
            file = asked.link(links)
        yield file, template, "compare", f"{b} against {a}", values


def _chosen(features: Features, n: int) -> list[int]:
    statistics, explanations = features.statistics(), features.explanations()
    order = features.find(Listing())
    order = order[statistics.columns["firing_rate"][order] > 0]
    if explanations is not None:
        explained = np.zeros(features.n_latents, dtype=bool)
        explained[explanations.latents] = True
        order = np.concatenate([order[explained[order]], order[~explained[order]]])
    return order[: n or None].tolist()
