"""An endpoint that is slow, broken, rude or absent; every server is on loopback."""

from __future__ import annotations

import logging

import numpy as np
import pytest
from tests.features.explain.planted import completion, contexts, endpoint, is_word

from pellucid.core.errors import ConfigError
from pellucid.features.explain import Prompted
from pellucid.features.language import Endpoint, EndpointConfig, EndpointError

KEY = "sk-secret-0123456789"


def client(url, **settings):
    fast = {"backoff": 0.01, "requests_per_minute": 60000.0, "timeout": 5.0, "key_variable": "PELLUCID_TEST_KEY"}
    return Endpoint(EndpointConfig(url=url, **{**fast, **settings}))


def test_the_answer_the_cost_and_what_is_sent(monkeypatch):
    monkeypatch.setenv("PELLUCID_TEST_KEY", KEY)
    with endpoint(lambda *_: completion(" cats. ")) as (url, seen):
        model = client(url, model="m", prompt_price=2.0, answer_price=10.0)
        assert model.complete("hello", 7) == "cats."
        assert model.cost() == {"requests": 1, "prompt_tokens": 100, "answer_tokens": 5, "price": pytest.approx(2.5e-4)}
    body, headers, _, path = seen[0]
    assert path == "/v1/chat/completions" and headers["Authorization"] == f"Bearer {KEY}"
    assert body == {"model": "m", "messages": [{"role": "user", "content": "hello"}], "max_tokens": 7, "temperature": 0}
    assert KEY not in repr(vars(model)) + repr(model.config)


def test_no_key_is_sent_where_there_is_none(monkeypatch):
    monkeypatch.delenv("PELLUCID_TEST_KEY", raising=False)
    with endpoint(lambda *_: completion("x")) as (url, seen):
        client(url).complete("hello")
    assert "Authorization" not in seen[0][1]


def test_errors_that_may_pass_are_tried_again(caplog, monkeypatch):
    monkeypatch.setenv("PELLUCID_TEST_KEY", KEY)
    caplog.set_level(logging.INFO, logger="pellucid")
    bad = {1: (503, b"", {}), 2: (429, KEY.encode(), {"Retry-After": "0"})}
    with endpoint(lambda number, *_: bad.get(number, completion("yes"))) as (url, seen):
        assert client(url).complete("hello") == "yes"
    assert len(seen) == 3 and "HTTP status 503" in caplog.text and KEY not in caplog.text


def test_an_endpoint_that_takes_too_long():
    with (
        endpoint(lambda *_: 0.6) as (url, seen),
        pytest.raises(EndpointError, match=r"no answer in 2 tries: no answer within 0.1"),
    ):
        client(url, timeout=0.1, retries=1).complete("hello")
    assert len(seen) == 2


def test_an_endpoint_that_is_not_there():
    with endpoint(lambda *_: completion("x")) as (url, _):
        pass
    with pytest.raises(EndpointError, match=r"no answer in 2 tries: cannot be reached"):
        client(url, retries=1).complete("hello")


@pytest.mark.parametrize(
    "answer",
    [b"<html>hello</html>", b"{}", b"[1]", b'{"choices": []}', b"\xff\xfe", b'{"choices": [{"message": {"content": 5}}]}'],
)
def test_nonsense_is_named_and_not_asked_again(answer):
    with (
        endpoint(lambda *_: (200, answer, {})) as (url, seen),
        pytest.raises(EndpointError, match=r"[Ww]ork done so far is kept"),
    ):
        client(url).complete("hello")
    assert len(seen) == 1


def test_a_refusal_names_the_variable_and_not_the_key(monkeypatch):
    monkeypatch.setenv("PELLUCID_TEST_KEY", KEY)
    with endpoint(lambda *_: (401, KEY.encode(), {})) as (url, _), pytest.raises(EndpointError) as refused:
        client(url).complete("hello")
    assert "401" in str(refused.value) and "set PELLUCID_TEST_KEY" in str(refused.value) and KEY not in str(refused.value)


@pytest.mark.parametrize("answer", [b"SSH-2.0-server\r\n", b""])
def test_what_is_no_http_is_tried_again_and_named(answer):
    with (
        endpoint(lambda *_: answer) as (url, seen),
        pytest.raises(EndpointError, match=r"no answer in 2 tries: (what came is no whole HTTP answer|cannot be reached)"),
    ):
        client(url, retries=1).complete("hello")
    assert len(seen) == 2


def test_a_key_that_cannot_be_sent_is_not_shown(monkeypatch):
    monkeypatch.setenv("PELLUCID_TEST_KEY", f" {KEY}\n")
    with endpoint(lambda *_: completion("x")) as (url, seen):
        client(url).complete("hello")
        assert seen[0][1]["Authorization"] == f"Bearer {KEY}"
        monkeypatch.setenv("PELLUCID_TEST_KEY", f"{KEY}\n{KEY}\u2028")
        with pytest.raises(ConfigError, match="PELLUCID_TEST_KEY") as refused:
            client(url).complete("hello")
    assert KEY not in str(refused.value) and len(seen) == 1


def test_a_redirect_takes_the_key_nowhere(monkeypatch):
    monkeypatch.setenv("PELLUCID_TEST_KEY", KEY)
    with endpoint(lambda *_: completion("stolen")) as (other, taken):
        moved = (302, b"", {"Location": other + "/chat/completions"})
        with endpoint(lambda *_: moved) as (url, _), pytest.raises(EndpointError, match="302"):
            client(url).complete("hello")
    assert taken == []


def test_the_rate_is_kept():
    with endpoint(lambda *_: completion("yes")) as (url, seen):
        model = client(url, requests_per_minute=600.0)
        assert model.yes(["a", "b", "c"], "").tolist() == [1.0, 1.0, 1.0]
    assert np.diff([when for _, _, when, _ in seen]).min() > 0.08


def test_yes_and_no_are_read_and_other_words_refused():
    words = iter(["Yes", "**No**", "no.", "Answer: yes"])
    with endpoint(lambda *_: completion(next(words))) as (url, _):
        assert client(url).yes(["?"] * 4, "").tolist() == [1.0, 0.0, 0.0, 1.0]
    with endpoint(lambda *_: completion("Perhaps")) as (url, _), pytest.raises(EndpointError, match="answered 'Perhaps'"):
        client(url).yes(["?"], "")


def test_an_address_must_be_one():
    with pytest.raises(ConfigError, match=r"wanted http"):
        Endpoint(EndpointConfig(url="file:///etc/passwd"))


def test_the_explainer_shows_marked_examples_and_takes_one_line():
    shown = contexts("train", is_word(" cat"), 60)
    with endpoint(lambda *_: completion("\n words for cats \nand more")) as (url, seen):
        assert Prompted("openai", client(url)).explain(shown) == "words for cats"
    prompt = seen[0][0]["messages"][0]["content"]
    assert prompt.count("<< cat") >= 40 and "\n40. (strength" in prompt and "\n41." not in prompt
