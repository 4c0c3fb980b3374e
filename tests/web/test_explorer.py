"""The explorer without a browser: what each address answers, and what is refused."""

from __future__ import annotations

import json
import re
import threading

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from starlette.testclient import TestClient
from tests.web.explored_run import HOSTILE, NAMES, SCRIPT, make_run, tiny_host

from pellucid import cli
from pellucid.core.errors import ConfigError, RunError
from pellucid.web.explorer import export
from pellucid.web.explorer.app import make_app
from pellucid.web.explorer.columns import COLUMNS
from pellucid.web.explorer.explored import ExploredRun
from pellucid.web.explorer.listing import Filter, Listing
from pellucid.web.explorer.matching import nearest
from pellucid.web.explorer.security import HEADERS, POLICY, Guard
from pellucid.web.explorer.serve import bind, check_address
from pellucid.web.explorer.statistics import Statistics
from pellucid.web.explorer.trial import MAX_CHARACTERS, WAITING, Ask, Busy, Trial

HERE = "http://127.0.0.1:8000"


@pytest.fixture(scope="module")
def opened(tmp_path_factory):
    host = tiny_host()
    run = ExploredRun(make_run(tmp_path_factory.mktemp("explorer") / "run", host))
    yield run, host
    run.close()


@pytest.fixture(scope="module")
def client(opened):
    run, host = opened
    with TestClient(make_app(run, host), base_url=HERE) as client:
        yield client


def latents_of(html: str) -> list[int]:
    return [int(i) for i in re.findall(r'<th scope="row"><a class="number" href="[^"]*">(\d+)</a>', html)]


def numbers(run: ExploredRun, name: str = "local") -> dict[str, np.ndarray]:
    table = pq.read_table(run.run / "index" / name / "latents.parquet")
    return {key: table[key].to_numpy() for key in ("latent", "max", "firing_rate", "effect_kl")}


def test_every_page_answers_with_the_policy_and_nothing_inline(client):
    for path in ("/", "/features/local", "/feature/local/3", "/compare", "/try", "/static/explorer.css", "/static/try.js"):
        answer = client.get(path)
        assert answer.status_code == 200, path
        assert answer.headers["content-security-policy"] == POLICY
        assert {key: answer.headers[key] for key in HEADERS} == HEADERS
        if "html" in answer.headers["content-type"]:
            assert not re.search(r"<script(?! src=)|<style|\sstyle=|\son\w+=|https?://(?!www\.w3\.org)", answer.text), path


@pytest.mark.parametrize("key", ["max", "firing_rate", "effect_kl"])
@pytest.mark.parametrize("sign", ["", "-"])
def test_a_list_is_sorted_as_asked_over_all_its_pages(opened, client, key, sign):
    found = [i for page in (1, 2, 3) for i in latents_of(client.get(f"/features/local?sort={sign}{key}&page={page}").text)]
    values = numbers(opened[0])[key]
    assert sorted(found) == list(range(60))
    known = [values[i] for i in found if not np.isnan(values[i])]
    assert known == sorted(known, reverse=sign == "-")
    assert not np.isnan(values[found[: len(known)]]).any(), "latents without the number come last"


def test_filters_hold_together_and_are_links(opened, client):
    values = numbers(opened[0])
    html = client.get("/features/local?f=max:10:20&f=firing_rate:0.01:&sort=latent").text
    wanted = values["latent"][(values["max"] >= 10) & (values["max"] <= 20) & (values["firing_rate"] >= 0.01)]
    assert latents_of(html) == wanted.tolist() and len(wanted) > 2
    assert 'href="/features/local?sort=latent&amp;f=firing_rate%3A0.01%3A"' in html, "the first filter can be taken off"
    typed = client.get("/features/local?f=firing_rate:0.01:&column=max&from=10&to=20&sort=latent").text
    assert latents_of(typed) == wanted.tolist(), "a form without scripts says the same"


def test_search_finds_text_where_it_is_asked_to_look(opened, client):
    run = opened[0]
    examples = pq.read_table(run.run / "index" / "local" / "examples.parquet").to_pylist()
    for words in ("w33", "W33 ", SCRIPT[:7]):
        texts = {(row["latent"], "".join(row["texts"]).lower()) for row in examples}
        wanted = {latent for latent, text in texts if words.strip().lower() in text}
        found = run.of("local").find(Listing(search=words.strip(), scope="examples"))
        assert set(found.tolist()) == wanted and wanted
    peaks = run.of("local").find(Listing(search=SCRIPT, scope="peaks"))
    assert set(peaks.tolist()) == {i for i in range(60) if i % 16 == 0 and i % 9 != 8}
    explained = pq.read_table(run.run / "explanations" / "local" / "pattern.parquet").to_pylist()
    wanted = {row["latent"] for row in explained if "rule 2" in row["text"]}
    assert set(latents_of(client.get("/features/local?q=Rule+2&in=explanations").text)) == wanted
    assert latents_of(client.get("/features/local?q=nowhere+at+all").text) == []
    assert 41 in run.of("local").find(Listing(search="41", scope="all")), "a number is a latent, too"


def test_a_feature_is_turned_to_in_the_list_it_came_from(opened, client):
    order = latents_of(client.get("/features/local?sort=-max").text)
    html = client.get(f"/feature/local/{order[1]}?sort=-max&at=2").text
    assert f'href="/feature/local/{order[0]}?sort=-max&amp;at=1" rel="prev"' in html
    assert f'href="/feature/local/{order[2]}?sort=-max&amp;at=3" rel="next"' in html
    assert "2 of 60 in the list" in html
    silent = client.get("/feature/local/8").text
    assert "fired on none of the indexed positions" in silent


def test_names_tokens_and_searches_are_text(client):
    name = "/features/" + NAMES[1].replace("<", "%3C").replace(">", "%3E").replace("&", "%26").replace(" ", "%20").replace(
        "\u202e", "%E2%80%AE"
    )
    for path in (
        "/",
        name,
        "/feature/local/0",
        "/feature/local/4",
        f"/features/local?q={SCRIPT}",
        f"/try?text={SCRIPT}</textarea>",
    ):
        html = client.get(path).text
        assert SCRIPT not in html and "<b>&" not in html and "<img" not in html
        assert not set(html) & {"\u202e", "\x00", "\x1b", "\ufeff"}, path
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


def test_the_api_says_what_is_wrong(client):
    def error(body) -> str:
        answer = client.post("/api/active", json=body)
        assert answer.status_code == 400
        return answer.json()["error"]

    assert "300 tokens; the limit is 256" in error({"text": "w1 " * 300, "dictionary": "local"})
    assert str(MAX_CHARACTERS) in error({"text": "a" * (MAX_CHARACTERS + 1), "dictionary": "local"})
    assert "empty" in error({"text": "", "dictionary": "local"})
    assert "extra" in error({"text": "w1", "dictionary": "local", "x": 1}).lower()
    assert error([1]) and client.post("/api/active", json={"text": "w1", "dictionary": "x"}).status_code == 404
    bad = {"text": "w1 w2", "dictionary": "local", "changes": [{"latent": 99, "operation": "add", "value": 1.0}]}
    assert "99" in client.post("/api/steer", json=bad).json()["error"]
    bad["changes"][0] |= {"latent": 1, "operation": "explode"}
    assert "explode" in client.post("/api/steer", json=bad).json()["error"]


def test_steering_moves_the_probabilities_and_no_change_moves_nothing(client):
    ask = {"text": "w1 w2 w3 w4", "dictionary": "local", "new_tokens": 4}
    still = client.post("/api/steer", json=ask).json()
    assert still["before"] == still["after"] and still["kl"] < 1e-6
    assert all(one["before"] == one["after"] for one in still["next"])
    moved = client.post("/api/steer", json=ask | {"changes": [{"latent": 3, "operation": "add", "value": 30.0}]}).json()
    assert moved["kl"] > 1e-3 and any(abs(one["before"] - one["after"]) > 1e-3 for one in moved["next"])


def test_the_host_works_on_one_request_at_a_time_and_a_crowd_is_turned_away(opened):
    run, host = opened
    trial = Trial(run.run, host)
    gate, inside, most = threading.Event(), [0, 0], []

    def work() -> int:
        inside[0] += 1
        most.append(inside[0])
        gate.wait(20)
        inside[0] -= 1
        return 1

    threads = [threading.Thread(target=trial._in_turn, args=(work,)) for _ in range(WAITING)]
    for thread in threads:
        thread.start()
    while trial._waiting < WAITING:
        pass
    with pytest.raises(Busy, match="one at a time"):
        trial.active(Ask(text="w1", dictionary="local"))
    gate.set()
    for thread in threads:
        thread.join(20)
    assert most == [1] * WAITING
    assert trial.active(Ask(text="w1 w2", dictionary="local"))["tokens"]
    trial.close()


def test_matching_is_the_greatest_cosine_both_ways():
    generator = torch.Generator().manual_seed(0)
    a, b = torch.randn(37, 8, generator=generator), torch.randn(53, 8, generator=generator)
    unit = torch.nn.functional.normalize
    cosines = (unit(a, dim=1) @ unit(b, dim=1).T).numpy()
    progress = [0.0]
    there, back = nearest(a, b, progress)
    assert (there.latents == cosines.argmax(1)).all() and (back.latents == cosines.argmax(0)).all()
    np.testing.assert_allclose(there.cosines, cosines.max(1), rtol=1e-5)
    np.testing.assert_allclose(back.cosines, cosines.max(0), rtol=1e-5)
    assert progress == [1.0]


def test_orders_agree_with_a_plain_sort():
    values = np.array([3, -1, np.nan, 0, -0.0, np.inf, 3, -np.inf, 1e-40], dtype=np.float32)
    statistics = Statistics({"max": values})
    plain = sorted(range(9), key=lambda i: (np.isnan(values[i]), 0 if np.isnan(values[i]) else values[i], i))
    assert statistics.order("max", False).tolist() == plain
    assert statistics.order("max", True).tolist() == [*plain[:8][::-1], plain[8]]
    assert statistics.mask([Filter("max", 0.0, 3.0)]).tolist() == [bool(0 <= v <= 3) for v in values]


def test_addresses_are_read_back_as_written():
    listing = Listing("a b&c", "peaks", "max", True, (Filter("mean", 0.1, None), Filter("max", None, 2.0)), "local", 3)
    assert Listing.parse(listing.pairs()) == listing
    assert all(Listing.parse([("sort", key)]).sort == key for key in COLUMNS)


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
        assert "explain" in client.get("/").text
        assert client.get("/try").status_code == 200, "pages that need no broken file go on"
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


def test_an_export_holds_the_wanted_features_and_spares_other_folders(opened, tmp_path):
    run, _ = opened
    first = export(run.run, tmp_path / "out", features=5)
    explained = {row["latent"] for row in pq.read_table(run.run / "explanations" / "local" / "pattern.parquet").to_pylist()}
    written = sorted(int(path.stem.split("-")[2]) for path in first.parent.glob("feature-0-*.html"))
    assert len(written) == 5 and set(written) <= explained
    links = re.findall(r'(?:href|src)="([^"#]*)"', "".join(path.read_text() for path in first.parent.glob("*.html")))
    assert all((first.parent / link).is_file() for link in links if link and not link.startswith("data:"))
    export(run.run, tmp_path / "out", features=3)
    assert len(list(first.parent.glob("feature-0-*.html"))) == 3, "an older export is replaced"
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").touch()
    with pytest.raises(ConfigError, match="other files"):
        export(run.run, tmp_path / "mine")
    assert HOSTILE[0] == SCRIPT and SCRIPT not in (first.parent / "features-0.html").read_text()
