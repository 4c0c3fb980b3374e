"""Ctrl-C: the update ends, a checkpoint is written, the message says how to go on, and going on changes no byte."""

from __future__ import annotations

import signal
import threading
import time

import pytest

from pellucid.training import checkpoint
from pellucid.training.interrupt import interruptible

STEPS = 8
SELDOM = {"steps": STEPS, "checkpoint_seconds": 1e6}


def _until(found):
    end = time.monotonic() + 60
    while not found():
        assert time.monotonic() < end
        time.sleep(0.005)


@pytest.fixture
def uninterrupted(fork_server, tmp_path):
    run = tmp_path / "uninterrupted"
    assert fork_server.fit(run, config=SELDOM).wait() == 0
    return run


def test_ctrl_c_writes_a_checkpoint_and_going_on_gives_the_same_bytes(fork_server, small, tmp_path, uninterrupted):
    run, marker = tmp_path / "run", tmp_path / "marker"
    process = fork_server.fit(run, "first", config=SELDOM, pause_at=4, marker=str(marker))
    _until(marker.exists)
    process.send(signal.SIGINT)
    _until(lambda: "finishing this update" in process.log)
    marker.unlink()
    assert process.wait() == 130
    assert "finishing this update, then writing a checkpoint" in process.log
    assert f"stopped; run the same command again to go on from step 5 of {STEPS}" in process.log
    assert checkpoint.latest(run / "checkpoint")[0] == 5
    assert not (run / "dictionaries").exists()

    again = fork_server.fit(run, "second", config=SELDOM)
    assert again.wait() == 0
    assert f"at step 5 of {STEPS}" in again.log
    assert small.weights(run) == small.weights(uninterrupted)
    assert (run / "metrics.jsonl").read_bytes() == (uninterrupted / "metrics.jsonl").read_bytes()


def test_a_second_ctrl_c_stops_at_once_and_costs_nothing_but_the_steps(fork_server, small, tmp_path, uninterrupted):
    run, marker = tmp_path / "run", tmp_path / "marker"
    process = fork_server.fit(run, "first", config=SELDOM, pause_at=4, marker=str(marker))
    _until(marker.exists)
    process.send(signal.SIGINT)
    _until(lambda: "finishing this update" in process.log)
    process.send(signal.SIGINT)
    assert process.wait() == 130
    assert "stopped; run the same command again to go on from the beginning" in process.log
    assert checkpoint.latest(run / "checkpoint") is None
    assert fork_server.fit(run, "second", config=SELDOM).wait() == 0
    assert small.weights(run) == small.weights(uninterrupted)
    assert (run / "metrics.jsonl").read_bytes() == (uninterrupted / "metrics.jsonl").read_bytes()


def test_the_handler_of_before_is_back_whatever_happened():
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(ZeroDivisionError), interruptible():
        assert signal.getsignal(signal.SIGINT) is not before
        raise ZeroDivisionError
    assert signal.getsignal(signal.SIGINT) is before


def test_outside_the_main_thread_a_fit_still_runs(fitted):
    found = []
    thread = threading.Thread(target=lambda: found.append(fitted("run", steps=2)))
    thread.start()
    thread.join()
    assert (found[0] / "dictionaries" / "local" / "config.json").exists()
