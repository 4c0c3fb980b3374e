"""The explorer's lists without a browser: sorted, filtered, searched, turned and matched as asked."""

from __future__ import annotations

import re
import shutil

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from tests.web.explored_run import NAMES, SCRIPT

from pellucid.core.errors import RunError
from pellucid.web.explorer.columns import COLUMNS
from pellucid.web.explorer.explored import ExploredRun
from pellucid.web.explorer.listing import Filter, Listing
from pellucid.web.explorer.matching import nearest
from pellucid.web.explorer.security import HEADERS, POLICY
from pellucid.web.explorer.statistics import Statistics


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
            code = r"<script(?! src=)|<style|<[^>]*\s(?:style|on\w+)=|https?://(?!www\.w3\.org)"
            assert not re.search(code, answer.text), path


@pytest.mark.parametrize("key", ["max", "firing_rate", "effect_kl"])
@pytest.mark.parametrize("sign", ["", "-"])
def test_a_list_is_sorted_as_asked_over_all_its_pages(opened, client, key, sign):
    found = [i for page in (1, 2, 3) for i in latents_of(client.get(f"/features/local?sort={sign}{key}&page={page}").text)]
    values = numbers(opened[0])[key]
    assert sorted(found) == list(range(60))
    known = [values[i] for i in found if not np.isnan(values[i])]
    assert known == sorted(known, reverse=sign == "-")
    assert not np.isnan(values[found[: len(known)]]).any(), "latents without the number come last"


def test_the_menu_names_the_order_even_where_no_latent_has_that_number(client):
    html = client.get("/features/local?sort=-intervention").text
    assert '<option value="-intervention" selected>' in html


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


def test_a_matching_that_fails_says_why_and_is_tried_again(opened, tmp_path):
    folder = tmp_path / "run"
    shutil.copytree(opened[0].run, folder)
    run = ExploredRun(folder)
    weights = folder / "dictionaries" / "local" / "weights.safetensors"
    kept = weights.rename(weights.with_suffix(".away"))
    with pytest.raises(RunError, match="those of 'local' cannot be read"):
        run.matchings.get(*NAMES, wait=True)
    kept.rename(weights)
    found = run.matchings.get(*NAMES, wait=True)
    assert not isinstance(found, float) and (found[1].cosines[:30] > 0.999).all()
    run.close()


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
