"""Checkpoints: whole or not at all, checked when read, and the one before survives whatever goes wrong."""

from __future__ import annotations

import errno
import logging
import resource
from contextlib import contextmanager

import pytest
import torch

from pellucid.core import files
from pellucid.core.errors import FileFormatError, RunError
from pellucid.training import checkpoint

TENSORS = {"a": torch.arange(6.0).reshape(2, 3), "count": torch.tensor(7)}


def _steps(folder):
    return sorted(path.name for path in folder.iterdir())


def test_round_trip_keeps_bits_and_plain_values(tmp_path):
    tensors = TENSORS | {"half": torch.randn(5).half(), "whole": torch.tensor([2**62])}
    checkpoint.save(tmp_path, 3, tensors, {"seconds": 1.5, "learners": {"x": {"n": 2}}})
    found, state = checkpoint.load(tmp_path)
    assert found.keys() == tensors.keys() and all(torch.equal(found[name], tensors[name]) for name in tensors)
    assert state["step"] == 3 and state["seconds"] == 1.5 and state["learners"] == {"x": {"n": 2}}


def test_the_newest_replaces_the_one_before(tmp_path):
    for step in (9, 10, 100_000):
        checkpoint.save(tmp_path, step, TENSORS, {})
        assert _steps(tmp_path) == [f"step-{step:09d}"]
    assert checkpoint.latest(tmp_path) == (100_000, tmp_path / "step-000100000")


def test_none_yet_is_none(tmp_path):
    assert checkpoint.load(tmp_path / "nothing") is None
    assert checkpoint.latest(tmp_path) is None


def _two(folder):
    """A folder as a kill between writing and cleaning up leaves it: steps 1 and 2."""
    checkpoint.save(folder, 1, {"a": torch.tensor([1.0])}, {})
    one = folder / "step-000000001"
    one.rename(folder / "aside")
    checkpoint.save(folder, 2, {"a": torch.tensor([2.0])}, {})
    (folder / "aside").rename(one)
    return folder / "step-000000002"


def test_of_two_whole_ones_the_newest_is_used(tmp_path):
    _two(tmp_path)
    assert checkpoint.load(tmp_path)[1]["step"] == 2


def _flip_a_bit(path):
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(bytes(content))


DAMAGE = {
    "flipped bit": lambda two: _flip_a_bit(two / "tensors.safetensors"),
    "cut tensors": lambda two: (two / "tensors.safetensors").write_bytes((two / "tensors.safetensors").read_bytes()[:20]),
    "no tensors": lambda two: (two / "tensors.safetensors").unlink(),
    "cut state": lambda two: (two / "state.json").write_text((two / "state.json").read_text()[:10]),
    "no state": lambda two: (two / "state.json").unlink(),
    "empty state": lambda two: (two / "state.json").write_text("{}"),
    "state of another kind": lambda two: (two / "state.json").write_text("[]"),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_newest_is_named_and_the_one_before_is_used(tmp_path, caplog, damage):
    newest = _two(tmp_path)
    DAMAGE[damage](newest)
    with caplog.at_level(logging.WARNING, "pellucid"):
        tensors, state = checkpoint.load(tmp_path)
    assert state["step"] == 1 and torch.equal(tensors["a"], torch.tensor([1.0]))
    assert str(newest) in caplog.text and "not whole" in caplog.text


def test_a_damaged_one_is_written_again(tmp_path):
    newest = _two(tmp_path)
    _flip_a_bit(newest / "tensors.safetensors")
    checkpoint.save(tmp_path, 2, {"a": torch.tensor([2.0])}, {})
    assert checkpoint.load(tmp_path)[1]["step"] == 2
    assert _steps(tmp_path) == ["step-000000002"]


def test_no_whole_one_is_refused_with_every_reason(tmp_path):
    newest = _two(tmp_path)
    _flip_a_bit(newest / "tensors.safetensors")
    (tmp_path / "step-000000001" / "state.json").unlink()
    with pytest.raises(FileFormatError, match=r"(?s)no checkpoint in .*step-000000002.*sha256.*step-000000001.*start again"):
        checkpoint.load(tmp_path)


def _disk_full(*_args, **_keywords):
    raise OSError(errno.ENOSPC, "No space left on device")


@pytest.mark.parametrize("failing", ["save_file", "write_json", "sha256_file"])
def test_a_full_disk_leaves_the_previous_one(tmp_path, monkeypatch, failing):
    checkpoint.save(tmp_path, 1, TENSORS, {})
    monkeypatch.setattr(files, failing, _disk_full)
    with pytest.raises(RunError, match=r"step 2 could not be written .*No space left.*step 1 is intact; make room"):
        checkpoint.save(tmp_path, 2, TENSORS, {})
    monkeypatch.undo()
    assert _steps(tmp_path) == ["step-000000001"]
    assert torch.equal(checkpoint.load(tmp_path)[0]["a"], TENSORS["a"])


@contextmanager
def _largest_file(size):
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_write_the_system_refuses_leaves_the_previous_one(tmp_path):
    checkpoint.save(tmp_path, 1, TENSORS, {})
    with _largest_file(1 << 16), pytest.raises(RunError, match=r"step 2 could not be written .*step 1 is intact"):
        checkpoint.save(tmp_path, 2, {"large": torch.zeros(1 << 20)}, {})
    assert _steps(tmp_path) == ["step-000000001"]
    assert checkpoint.load(tmp_path)[1]["step"] == 1


def test_a_first_one_that_fails_says_there_was_none(tmp_path, monkeypatch):
    monkeypatch.setattr(files, "save_file", _disk_full)
    with pytest.raises(RunError, match="There was none before"):
        checkpoint.save(tmp_path / "checkpoint", 1, TENSORS, {})


def test_a_fit_on_a_full_disk_goes_on_once_there_is_room(fitted, small, monkeypatch):
    whole = small.weights(fitted("whole"))
    plain, calls = files.save_file, 0

    def third_fails(*args, **keywords):
        nonlocal calls
        calls += 1
        return _disk_full() if calls == 3 else plain(*args, **keywords)

    monkeypatch.setattr(files, "save_file", third_fails)
    with pytest.raises(RunError, match=r"step 3 .*step 2 is intact; make room and run the same command again"):
        fitted("full")
    monkeypatch.undo()
    assert small.weights(fitted("full")) == whole
