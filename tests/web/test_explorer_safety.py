"""What the explorer refuses, and that nothing in a run becomes code: texts, addresses, other machines, broken files."""

from __future__ import annotations

import json
import re
from urllib.parse import quote

import pyarrow.parquet as pq
import pytest
from starlette.testclient import TestClient
from tests.web.explored_run import HERE, NAMES, SCRIPT, make_run, tiny_host

from pellucid import cli
from pellucid.core.errors import ConfigError, FileFormatError, RunError
from pellucid.web.explorer import overview_page
from pellucid.web.explorer.app import make_app
from pellucid.web.explorer.explored import ExploredRun
from pellucid.web.explorer.security import POLICY, Guard
from pellucid.web.explorer.serve import bind, check_address


def test_names_tokens_and_searches_are_text(client):
    name = "/features/" + quote(NAMES[1], safe="")
    for path in (
        "/",
        name,
        "/feature/local/0",
        "/feature/local/4",
        f"/features/local?q={SCRIPT}",
        f"/try?text={SCRIPT}</textarea>",
    ):
        html = client.get(path).text
        assert SCRIPT not in html and "e2e <b>" not in html and "<img" not in html
        shown = re.sub(r' value="[^"]*"', "", html)  # what a form sends is the name itself, and is not shown
        assert not set(shown) & {"\u202e", "\x00", "\x1b", "\ufeff"}, path
        assert "{{" not in html.replace("{{ 7*7 }}", ""), "a template in a token stays text"
    assert "<U+202E>" in client.get("/feature/local/4").text.replace("&lt;", "<").replace("&gt;", ">")


@pytest.mark.parametrize(
    ("path", "status", "words"),
    [
        ("/features/lokal", 404, "Did you mean &#39;local&#39;?"),
        ("/features/..%2f..%2fetc", 404, "Not"),
        ("/features/%2e%2e", 404, "no dictionary"),
        ("/feature/local/60", 404, "latents 0 to 59"),
        ("/feature/local/-1", 404, "not the number of a latent"),
        ("/static/../app.py", 404, "Not Found"),
        ("/static/%2e%2e%2fapp.py", 404, "Not Found"),
        ("/static/app.py", 404, "no file"),
        ("/features/local?sort=max;drop+table", 400, "no statistic"),
        ("/features/local?sort=maximum", 400, "Did you mean &#39;max&#39;"),
        ("/features/local?f=max:a:", 400, "wanted a number"),
        ("/features/local?f=max:nan:", 400, "wanted a number"),
        ("/features/local?page=0", 400, "wanted a number from 1"),
        ("/features/local?in=secrets", 400, "cannot look in"),
        ("/features/local?q=" + "a" * 201, 400, "201 characters; at most 200"),
        ("/features/local?by=nobody", 400, "no explainer"),
        ("/compare?a=local&b=nothing", 404, "no dictionary"),
        ("/compare?least=2", 400, "cosine from -1 to 1"),
        ("/compare?sort=;", 400, "no statistic"),
        ("/try?change=1:explode", 400, "cannot be read"),
        ("/nothing", 404, "Not Found"),
    ],
)  # fmt: skip
def test_what_is_not_there_or_does_not_fit_is_said(client, path, status, words):
    answer = client.get(path)
    assert answer.status_code == status and words in answer.text
    assert answer.headers["content-security-policy"] == POLICY


def test_only_this_machine_and_this_page_may_ask(opened, client):
    for host in ("evil.example", "127.0.0.1.evil.example", "", "[::2]", "localhost.evil"):
        assert client.get("/", headers={"host": host}).status_code == 421, host
    for host in ("127.0.0.1:8000", "localhost:1", "[::1]:8000"):
        assert client.get("/try", headers={"host": host}).status_code == 200, host
    ask = {"text": "w1", "dictionary": "local"}
    assert client.post("/api/active", json=ask, headers={"origin": "http://evil.example"}).status_code == 403
    assert client.post("/api/active", json=ask, headers={"origin": "null"}).status_code == 403
    assert client.post("/api/active", content=json.dumps(ask), headers={"content-type": "text/plain"}).status_code == 415
    assert (
        client.post("/api/active", content=b"{" + b" " * 200_000, headers={"content-type": "application/json"}).status_code
        == 413
    )
    assert client.get("/features/local?q=" + "a" * 9000).status_code == 414
    assert client.post("/api/active", json=ask, headers={"origin": HERE}).status_code == 200
    assert Guard(None, ["*"])._known("anything") and not Guard(None, [])._known("anything")


def test_a_run_without_an_index_and_broken_files_are_said(tmp_path, capsys):
    host = tiny_host()
    run = make_run(tmp_path / "run", host)
    for name in ("latents", "examples"):
        (run / "index" / "local" / f"{name}.parquet").write_bytes(b"PAR1 nonsense")
    (run / "explanations" / NAMES[1] / "pattern.parquet").write_bytes(b"")
    opened = ExploredRun(run)
    with TestClient(make_app(opened, host), base_url=HERE) as client:
        broken = client.get("/features/local")
        assert broken.status_code == 500 and "cannot be read" in broken.text and "pellucid index" in broken.text
        unexplained = client.get("/features/" + quote(NAMES[1], safe=""))
        assert unexplained.status_code == 500 and "pellucid explain" in unexplained.text
        assert client.get("/try").status_code == 200, "pages that need no broken file go on"
        overview = client.get("/")
        assert overview.status_code == 200 and "pellucid index" in overview.text and "pellucid explain" in overview.text
    opened.close()
    (run / "index" / "manifest.json").unlink()
    assert cli.main(["explore", str(run), "--no-open"]) == 2
    assert "has no index" in capsys.readouterr().err
    with pytest.raises(RunError, match="not a folder"):
        ExploredRun(tmp_path / "nowhere")


def test_other_addresses_are_asked_for_twice(caplog):
    check_address("127.0.0.1", False)
    check_address("::1", False)
    with pytest.raises(ConfigError, match="--elsewhere"):
        check_address("0.0.0.0", False)
    check_address("0.0.0.0", True)
    assert "without a password" in caplog.text
    taken = bind("127.0.0.1", 0)
    taken.listen()
    with pytest.raises(ConfigError, match=r"cannot be used.*--port"):
        bind("127.0.0.1", taken.getsockname()[1])
    taken.close()


def test_an_index_that_does_not_fit_its_run_is_refused(tmp_path):
    run = make_run(tmp_path / "run", tiny_host())
    table = run / "index" / "local" / "latents.parquet"
    pq.write_table(pq.read_table(table).slice(0, 50), table)
    opened = ExploredRun(run)
    with TestClient(make_app(opened), base_url=HERE) as client:
        answer = client.get("/feature/local/3")
        assert answer.status_code == 500 and "50 rows, wanted one for each of 60 latents" in answer.text
    opened.close()
    manifest = run / "index" / "manifest.json"
    manifest.write_text(manifest.read_text().replace('"local"', '"../../elsewhere"'))
    with pytest.raises(FileFormatError, match="wanted the name of a folder"):
        ExploredRun(run)


def test_a_fault_of_the_explorer_is_said_as_text(opened, monkeypatch):
    def fails(*_):
        raise RuntimeError("<b>boom")

    monkeypatch.setattr(overview_page, "values", fails)
    answer = TestClient(make_app(opened[0]), base_url=HERE, raise_server_exceptions=False).get("/")
    assert answer.status_code == 500 and "RuntimeError: &lt;b&gt;boom" in answer.text
    assert answer.headers["content-security-policy"] == POLICY
