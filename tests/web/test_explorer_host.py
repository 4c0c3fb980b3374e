"""The explorer's page with the host: what its addresses answer, and that a crowd waits its turn."""

from __future__ import annotations

import threading

import pytest

from pellucid.web.explorer.trial import MAX_CHARACTERS, WAITING, Ask, Busy, Trial


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
