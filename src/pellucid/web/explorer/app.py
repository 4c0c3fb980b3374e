"""The server: addresses to pages."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, JSONResponse, Response
from pydantic import ValidationError
from starlette.exceptions import HTTPException

from pellucid.core.errors import ConfigError, DataError, PellucidError
from pellucid.hosts import Host
from pellucid.web.explorer import compare_page, feature_page, list_page, overview_page, try_page
from pellucid.web.explorer.explored import ExploredRun, UnknownPage
from pellucid.web.explorer.links import LiveLinks
from pellucid.web.explorer.listing import Listing
from pellucid.web.explorer.pages import ASSETS, Pages
from pellucid.web.explorer.security import Guard
from pellucid.web.explorer.trial import Ask, Busy, Trial
from pellucid.web.text import visible

TYPES = {"css": "text/css; charset=utf-8", "js": "text/javascript; charset=utf-8"}
STATUS: dict[type[PellucidError], int] = {UnknownPage: 404, ConfigError: 400, DataError: 400, Busy: 503}
"""What an error is to the browser; others are 500."""


def make_app(run: ExploredRun, host: Host | None = None, hosts: tuple[str, ...] = ()) -> Guard:
    """Return the ASGI application over a run.

    `host` is used instead of the one the run names; `hosts` are names answered to beside those of the loopback.
    """
    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
    app.state.trial = Trial(run.run, host)
    pages = Pages(run, LiveLinks())
    _add_pages(app, run, pages)
    _add_assets(app)
    _add_answers(app, run, app.state.trial)
    _add_errors(app, pages)
    return Guard(app, hosts)


def _add_pages(app: FastAPI, run: ExploredRun, pages: Pages) -> None:
    def overview() -> HTMLResponse:
        return HTMLResponse(pages.render("overview.html", "overview", run.title, overview_page.values(run)))

    def features(name: str, request: Request) -> HTMLResponse:
        listing = Listing.parse(request.query_params.multi_items())
        values = list_page.values(run, name, listing, pages.links)
        return HTMLResponse(pages.render("features.html", "features", f"Features of {name}", values))

    def feature(name: str, latent: str, request: Request) -> HTMLResponse:
        if not latent.isdecimal() or len(latent) > 12:
            raise UnknownPage(f"'{latent[:80]}' is not the number of a latent")
        listing, at = Listing.parse(request.query_params.multi_items()), request.query_params.get("at", "")
        place = int(at) if at.isdecimal() and len(at) < 12 else None
        values = feature_page.values(run, name, int(latent), listing, place, pages.links)
        return HTMLResponse(pages.render("feature.html", "features", f"{latent} of {name}", values))

    def compare(request: Request) -> HTMLResponse:
        asked = compare_page.Comparison.parse(run, dict(request.query_params))
        values = compare_page.values(run, asked, pages.links)
        return HTMLResponse(pages.render("compare.html", "compare", f"{asked.b} against {asked.a}", values))

    def try_it(request: Request) -> HTMLResponse:
        values = try_page.values(run, dict(request.query_params), pages.links)
        return HTMLResponse(pages.render("try.html", "try", "Try it", values))

    made: dict[str, Callable[..., HTMLResponse]] = {"/": overview, "/compare": compare, "/try": try_it}
    made |= {"/features/{name}": features, "/feature/{name}/{latent}": feature}
    for path, page in made.items():
        app.add_api_route(path, page, response_class=HTMLResponse, response_model=None)


def _add_assets(app: FastAPI) -> None:
    def asset(file: str) -> Response:
        if file not in ASSETS:
            raise UnknownPage(f"there is no file '{file[:80]}'")
        return Response(ASSETS[file].read_bytes(), media_type=TYPES[file.rpartition(".")[2]])

    app.add_api_route("/static/{file}", asset, response_model=None)


def _add_answers(app: FastAPI, run: ExploredRun, trial: Trial) -> None:
    """JSON for the page with the host; synchronous, so that each runs in a thread and pages go on being answered."""

    def active(body: dict[str, Any]) -> dict[str, Any]:
        ask = _ask(body)
        run.of(ask.dictionary)
        return try_page.explained(run, ask.dictionary, trial.active(ask))

    def steer(body: dict[str, Any]) -> dict[str, Any]:
        ask = _ask(body)
        run.of(ask.dictionary)
        return trial.steer(ask)

    def matching(a: str, b: str) -> dict[str, Any]:
        found = run.matchings.get(run.of(a).name, run.of(b).name)
        return {"done": found if isinstance(found, float) else 1.0}

    app.add_api_route("/api/active", active, methods=["POST"], response_model=None)
    app.add_api_route("/api/steer", steer, methods=["POST"], response_model=None)
    app.add_api_route("/api/matching", matching, response_model=None)


def _ask(body: dict[str, Any]) -> Ask:
    try:
        return Ask.model_validate(body)
    except ValidationError as error:
        raise ConfigError("; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors())) from None


def _add_errors(app: FastAPI, pages: Pages) -> None:
    titles = {404: "Not here", 400: "That does not fit", 503: "Busy"}

    def answer(request: Request, status: int, text: str) -> Response:
        if request.url.path.startswith("/api/"):
            return JSONResponse({"error": visible(text)}, status)
        return HTMLResponse(pages.message(titles.get(status, "This cannot be shown"), text), status)

    async def ours(request: Request, error: Exception) -> Response:
        return answer(request, next((s for kind, s in STATUS.items() if isinstance(error, kind)), 500), str(error))

    async def unknown(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        return answer(request, error.status_code, f"{error.detail}: {request.url.path[:200]}")

    async def malformed(request: Request, error: Exception) -> Response:
        return answer(request, 400, "the request has another form than the page sends")

    async def ours_to_mend(request: Request, error: Exception) -> Response:
        return answer(request, 500, f"{type(error).__name__}: {error}. The terminal of the explorer says where.")

    app.add_exception_handler(PellucidError, ours)
    app.add_exception_handler(HTTPException, unknown)
    app.add_exception_handler(RequestValidationError, malformed)
    app.add_exception_handler(Exception, ours_to_mend)
