"""One config and one writer in a run folder."""

from __future__ import annotations

import time

import pytest

from pellucid.core.errors import RunError
from pellucid.training import fit, folder


def test_another_config_is_refused_with_the_settings_that_differ(fitted, small):
    run = fitted("run")
    before = small.weights(run)
    dictionaries = small.dictionaries()
    dictionaries["local"]["architecture"] = {"kind": "relu", "n_latents": 40, "l1": 0.75}
    with pytest.raises(RunError) as caught:
        fitted("run", clip=3.0, dictionaries=dictionaries)
    lines = str(caught.value).splitlines()
    assert lines[0].endswith("already holds another config:")
    assert lines[1:3] == ["  - clip: there 10.0, here 3.0", "  - dictionaries.local.architecture.l1: there 0.5, here 0.75"]
    assert "another folder (--out)" in lines[3] and len(lines) == 4
    assert small.weights(run) == before


def test_a_dictionary_more_or_less_is_another_config(fitted, small):
    fitted("run")
    with pytest.raises(RunError, match=r"dictionaries\.e2e\.site: there 'layers\.1', here None"):
        fitted("run", dictionaries={name: value for name, value in small.dictionaries().items() if name != "e2e"})


def test_the_same_config_of_a_finished_run_trains_nothing(fitted, small, monkeypatch):
    run = fitted("run")
    before = {path: path.stat().st_mtime_ns for path in run.rglob("*") if path.is_file() and path.name != ".lock"}
    monkeypatch.setattr("pellucid.training.trainer.Trainer", None)
    assert fitted("run") == run
    assert {path: path.stat().st_mtime_ns for path in before} == before


def test_a_folder_in_which_another_process_trains_is_refused(fork_server, small, tmp_path):
    marker = tmp_path / "marker"
    other = fork_server.fit(tmp_path / "run", pause_at=1, marker=str(marker), config={"steps": 50})
    try:
        end = time.monotonic() + 60
        while not marker.exists() and time.monotonic() < end:
            time.sleep(0.01)
        with pytest.raises(RunError, match=r"another process is writing to .*run\. Wait for it, or choose another folder"):
            fit(small.config(steps=50), tmp_path / "run", host=small.host(), data=small.Tokens())
        assert other.wait(timeout=0) is None, "the first fit goes on"
    finally:
        other.kill()


def test_the_lock_of_a_killed_process_is_no_obstacle(fork_server, small, tmp_path):
    fork_server.fit(tmp_path / "run", config={"steps": 50}).kill()
    with folder.locked(tmp_path / "run"):
        pass


def test_a_folder_is_free_again_after_an_error(tmp_path):
    with pytest.raises(ZeroDivisionError), folder.locked(tmp_path / "run"):
        raise ZeroDivisionError
    with (
        folder.locked(tmp_path / "run"),
        pytest.raises(RunError, match="another process is writing"),
        folder.locked(tmp_path / "run"),
    ):
        pass
