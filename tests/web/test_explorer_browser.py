"""The explorer in a real browser: what a person does, with nothing in the console and nothing off the machine."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from urllib.parse import urlsplit

import axe_core_python
import pytest
from tests.web.explored_run import HOSTILE, NAMES, SCRIPT, make_run, serving, tiny_host

from pellucid.web.explorer import export
from pellucid.web.explorer.app import make_app
from pellucid.web.explorer.explored import ExploredRun

AXE = (Path(axe_core_python.__file__).parent / "axe.min.js").read_text(encoding="utf-8")
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
TEXT = f"w1 w2 {SCRIPT} w5 \U0001f98a w9 w1"


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """The run and its address."""
    host = tiny_host()
    run = make_run(tmp_path_factory.mktemp("explorer") / "run", host)
    opened = ExploredRun(run)
    with serving(make_app(opened, host)) as address:
        yield run, address
    opened.close()


@pytest.fixture(scope="module")
def browser():
    from playwright.sync_api import sync_playwright

    assert CHROMIUM, "these tests need chromium: 'make browser' installs it"
    with sync_playwright() as playwright:
        # No sandbox: in a container there is no user namespace to make one of.
        started = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        yield started
        started.close()


class Watched:
    """A page, with everything it said and asked for."""

    def __init__(self, page, folder: Path) -> None:
        self.page, self.folder = page, folder
        self.said: list[str] = []
        self.asked: list[str] = []
        self.allowed: list[str] = []
        """Parts of console messages that a test provokes."""
        page.on("console", lambda message: self.said.append(message.text) if message.type in ("error", "warning") else None)
        page.on("pageerror", lambda error: self.said.append(str(error)))
        page.on("request", lambda request: self.asked.append(request.url))

    def picture(self, name: str) -> None:
        self.page.screenshot(path=str(self.folder / f"{name}.png"), full_page=False)

    def accessible(self) -> None:
        """Assert that axe finds nothing to complain of, in light and dark."""
        for theme in ("light", "dark"):
            self.page.evaluate("theme => { document.documentElement.dataset.theme = theme }", theme)
            self.page.evaluate(AXE)  # scripts given to evaluate are not held to the page's policy
            found = self.page.evaluate("axe.run(document, {resultTypes: ['violations']})")["violations"]
            complaints = [(one["id"], [node["html"][:200] for node in one["nodes"][:3]]) for one in found]
            assert not complaints, f"{theme}: {complaints}"
        self.page.evaluate("delete document.documentElement.dataset.theme")

    def check(self) -> None:
        said = [line for line in self.said if not any(part in line for part in self.allowed)]
        assert said == []
        outside = [
            url
            for url in self.asked
            if urlsplit(url).scheme not in ("data", "file", "blob") and urlsplit(url).hostname != "127.0.0.1"
        ]
        assert outside == []


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    folder = Path(os.environ.get("PELLUCID_SCREENSHOTS") or tmp_path_factory.mktemp("screenshots"))
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@pytest.fixture
def watched(browser, pictures):
    context = browser.new_context(viewport={"width": 1280, "height": 860})
    context.set_default_timeout(15_000)
    found = Watched(context.new_page(), pictures)
    yield found
    context.close()
    found.check()


def test_overview_search_and_a_feature(made, watched):
    _, address = made
    page = watched.page
    page.goto(address)
    assert page.locator(".dictionaries .name").all_text_contents() == ["local", "e2e <b>&<U+202E>"]
    watched.picture("overview")
    watched.accessible()

    page.keyboard.press("f")
    page.wait_for_url("**/features/local")
    assert page.locator("[data-row]").count() == 25
    page.keyboard.press("/")
    page.keyboard.type("in rule 1")
    page.wait_for_url("**q=in+rule+1**")
    page.wait_for_function("document.querySelectorAll('[data-row]').length < 25")
    texts = page.locator("[data-row] .explanation").all_text_contents()
    assert texts and all("in rule 1" in text for text in texts)
    page.reload()
    assert page.locator("[data-row] .explanation").all_text_contents() == texts, "the address holds the search"

    page.goto(f"{address}/features/local?sort=latent")
    watched.picture("features")
    watched.accessible()
    page.keyboard.press("j")
    page.keyboard.press("j")
    page.keyboard.press("Enter")
    page.wait_for_url("**/feature/local/1?**")
    assert page.locator("h1").text_content().startswith("1 ")
    assert page.locator(".examples li").count() == 22
    assert page.locator(".examples .peak").first.text_content() == HOSTILE[1], "latent 1 peaks on word 1, shown as text"
    watched.picture("feature")
    watched.accessible()
    page.keyboard.press("n")
    page.wait_for_url("**/feature/local/2?**")
    page.keyboard.press("u")
    page.wait_for_url("**/features/local?sort=latent**")


def test_type_a_text_and_steer(made, watched):
    _, address = made
    page = watched.page
    page.goto(f"{address}/try")
    page.fill("#text", TEXT)
    page.keyboard.press("Control+Enter")
    page.wait_for_selector("#tokens button")
    assert page.locator("#tokens button").all_text_contents() == ["w1", "w2", SCRIPT, "w5", "\U0001f98a", "w9", "w1"]
    page.locator("#tokens button").nth(3).click()
    assert page.locator("#active li").count() == 8, "TopK keeps eight latents a token"
    page.locator("#active .number").first.click()
    assert page.locator("#tokens [class^=h]").count() >= 1
    page.fill("[name=value]", "40")
    page.click("#steer")
    page.wait_for_selector("#next tbody tr")
    assert page.locator("#next .rises").count() and page.locator("#next .falls").count()
    assert (
        page.locator("#after").text_content()
        and page.locator("#before").text_content() != page.locator("#after").text_content()
    )
    watched.picture("try")
    watched.accessible()

    link, shown = page.url, page.locator("#tokens").text_content()
    assert "change=" in link
    page.goto(link)
    page.wait_for_selector("#tokens button")
    assert page.locator("#tokens").text_content() == shown and page.input_value("[name=value]") == "40"
    page.evaluate("document.getElementById('text').removeAttribute('maxlength')")
    page.fill("#text", "w1 " * 300)
    watched.allowed.append("status of 400")
    page.click("#go")
    page.wait_for_selector("#state.bad")
    assert "300 tokens; the limit is 256" in page.locator("#state").text_content()


def test_compare_and_a_small_window_and_the_theme(made, watched):
    _, address = made
    page = watched.page
    page.goto(address)
    page.keyboard.press("c")
    page.wait_for_selector(".matched li")
    only = int(page.locator(".tabs a[aria-current] b").text_content())
    assert only == sum(i % 9 != 8 for i in range(30, 60)), "the first half of its atoms are in the other one too"
    watched.picture("compare")
    watched.accessible()
    page.locator(".tabs a", has_text="in both").click()
    page.wait_for_url("**show=matched**")
    assert page.locator(".matched .cosine").first.text_content() == "1.00"

    page.keyboard.press("d")
    before = page.evaluate("getComputedStyle(document.body).backgroundColor")
    page.reload()
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == before == "rgb(22, 24, 28)", "the choice is kept"
    page.set_viewport_size({"width": 390, "height": 780})
    for name, path in (
        ("features", "/features/local"),
        ("feature", "/feature/local/1"),
        ("try", "/try"),
        ("compare", "/compare"),
    ):
        page.goto(address + path)
        assert page.evaluate("document.documentElement.scrollWidth") <= 390, f"{name} is wider than a small window"
        watched.picture(f"narrow-{name}")


def test_nothing_in_the_run_becomes_code(made, watched):
    _, address = made
    page = watched.page
    for i in range(len(HOSTILE)):
        page.goto(f"{address}/feature/local/{i}")
        assert page.evaluate("document.querySelectorAll('main script, main img').length") == 0
        assert page.title() == f"{i} of local \u00b7 run \u00b7 pellucid"
    page.goto(f"{address}/features/local?q={SCRIPT}&in=peaks")
    assert page.locator("[data-row]").count() > 0 and page.locator("main script").count() == 0
    watched.allowed.append("status of 404")
    page.goto(f"{address}/features/<img src=x onerror=alert(1)>")
    assert "onerror" in page.locator("[role=alert]").text_content()


def test_an_export_opens_from_disk(made, watched, tmp_path):
    run, _ = made
    first = export(run, tmp_path / "out", features=12)
    page = watched.page
    page.goto(first.as_uri())
    assert page.locator(".dictionaries .name").first.text_content() == NAMES[0]
    assert page.evaluate("getComputedStyle(document.querySelector('.menubar')).position") == "sticky", "the style was loaded"
    page.keyboard.press("f")
    page.wait_for_url("**/features-0.html")
    assert page.locator("[data-row]").count() == 12
    page.locator("[data-sort=max]").click()
    shown = [float(text) for text in page.locator("td.c-max").all_text_contents()]
    assert shown == sorted(shown, reverse=True)
    explained = page.locator("[data-row] .explanation").first.text_content()
    page.fill("[data-search]", explained.upper())
    assert page.locator("[data-row]:visible").count() < 12
    page.locator("[data-row]:visible a").first.click()
    page.wait_for_selector(".examples li")
    watched.picture("export")
    watched.accessible()
    page.keyboard.press("c")
    page.wait_for_selector(".matched li")
    page.keyboard.press("t")
    page.wait_for_selector("pre")
    assert {urlsplit(url).scheme for url in watched.asked} <= {"file", "data"}
