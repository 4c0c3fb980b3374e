"""Checkpoints: whole or not at all, checked when read, and the one before survives whatever goes wrong."""

from __future__ import annotations

import errno
import logging
import resource
import shutil
from contextlib import contextmanager

import pytest
import torch
import yaml

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


@pytest.mark.parametrize("keep", [1, 2, 3])
def test_the_newest_ones_stay(tmp_path, keep):
    steps = (9, 10, 100_000)
    for number, step in enumerate(steps, start=1):
        checkpoint.save(tmp_path, step, TENSORS, {}, keep=keep)
        assert _steps(tmp_path) == [f"step-{step:09d}" for step in steps[max(0, number - keep) : number]]
    assert checkpoint.latest(tmp_path) == (100_000, tmp_path / "step-000100000")


def test_a_later_one_that_was_passed_over_does_not_stay_in_the_place_of_a_whole_one(tmp_path):
    for step in (1, 2, 9):
        checkpoint.save(tmp_path, step, TENSORS, {})
    _flip_a_bit(tmp_path / "step-000000009" / "state.json")
    checkpoint.save(tmp_path, 3, TENSORS, {}, keep=1)
    assert _steps(tmp_path) == ["step-000000003"]


def test_none_yet_is_none(tmp_path):
    assert checkpoint.load(tmp_path / "nothing") is None
    assert checkpoint.latest(tmp_path) is None


def _two(folder):
    """Steps 1 and 2."""
    for step in (1, 2):
        checkpoint.save(folder, step, {"a": torch.tensor([float(step)])}, {})
    return folder / "step-000000002"


def test_of_two_whole_ones_the_newest_is_used(tmp_path):
    _two(tmp_path)
    assert checkpoint.load(tmp_path)[1]["step"] == 2


FILES = ("tensors.safetensors", "state.json", "SHA256SUMS")


def _flip_a_bit(path, place=-1):
    content = bytearray(path.read_bytes())
    content[place] ^= 1
    path.write_bytes(bytes(content))


DAMAGE = {
    "no sums": lambda two: (two / "SHA256SUMS").unlink(),
    "cut sums": lambda two: (two / "SHA256SUMS").write_text((two / "SHA256SUMS").read_text()[:90]),
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


@pytest.mark.parametrize("name", FILES)
def test_every_flipped_bit_is_found_and_its_file_named(tmp_path, name):
    newest = _two(tmp_path)
    content = (newest / name).read_bytes()
    for place in range(len(content)):
        _flip_a_bit(newest / name, place)
        with pytest.raises(FileFormatError, match=rf"step-000000002/{name} (has sha256|does not list|says)"):
            checkpoint.read(newest)
        (newest / name).write_bytes(content)
    assert checkpoint.read(newest)[1]["step"] == 2


def test_one_of_the_first_version_is_read_and_checked_by_the_sum_it_has(tmp_path):
    newest = _two(tmp_path)
    (newest / "SHA256SUMS").unlink()
    record = {"step": 2, "sha256": files.sha256_file(newest / "tensors.safetensors"), "seconds": 1.0}
    files.write_json(newest / "state.json", record)
    assert checkpoint.load(tmp_path)[1] == record
    _flip_a_bit(newest / "tensors.safetensors")
    assert checkpoint.load(tmp_path)[1]["step"] == 1
    files.write_json(newest / "state.json", record | {"version": 3})
    with pytest.raises(FileFormatError, match=r"step-000000002/state.json has version 3; this pellucid reads 1 and 2"):
        checkpoint.read(newest)


def test_a_damaged_one_is_written_again(tmp_path):
    newest = _two(tmp_path)
    _flip_a_bit(newest / "tensors.safetensors")
    checkpoint.save(tmp_path, 2, {"a": torch.tensor([2.0])}, {})
    assert checkpoint.load(tmp_path)[1]["step"] == 2
    assert _steps(tmp_path) == ["step-000000001", "step-000000002"]


def test_no_whole_one_is_refused_with_every_reason(tmp_path):
    newest = _two(tmp_path)
    _flip_a_bit(newest / "tensors.safetensors")
    (tmp_path / "step-000000001" / "state.json").unlink()
    with pytest.raises(FileFormatError, match=r"(?s)no checkpoint in .*step-000000002.*sha256.*step-000000001.*start again"):
        checkpoint.load(tmp_path)


def _disk_full(*_args, **_keywords):
    raise OSError(errno.ENOSPC, "No space left on device")


@pytest.mark.parametrize("failing", ["save_file", "write_json", "sha256_file", "write_text"])
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


def test_a_fit_on_a_full_disk_goes_on_once_there_is_room(vectors, small, monkeypatch):
    whole = small.weights(vectors("whole"))
    plain, calls = files.save_file, 0

    def third_fails(*args, **keywords):
        nonlocal calls
        calls += 1
        return _disk_full() if calls == 3 else plain(*args, **keywords)

    monkeypatch.setattr(files, "save_file", third_fails)
    with pytest.raises(RunError, match=r"step 3 .*step 2 is intact; make room and run the same command again"):
        vectors("full")
    monkeypatch.undo()
    assert small.weights(vectors("full")) == whole


@pytest.fixture
def vectors(fitted, small):
    """vectors(name, **changes) -> run folder of a fit on a small network."""

    def run(name, **changes):
        config = {"dictionaries": {"d": small.VECTORS}, "tokens": 6 * small.ROWS, **changes}
        return fitted(name, host=small.mlp(), data=small.vectors(), **config)

    return run


@pytest.fixture
def stopped(vectors, monkeypatch):
    """A fit that was stopped with checkpoints of steps 3 and 4, and one that was not."""
    whole = vectors("whole")
    plain = checkpoint.save
    monkeypatch.setattr(checkpoint, "save", lambda *args, **keywords: _stop_after(4, plain, *args, **keywords))
    with pytest.raises(KeyboardInterrupt):
        vectors("run")
    monkeypatch.setattr(checkpoint, "save", plain)
    return whole.parent / "run", whole


def _stop_after(last, save, folder, step, *args, **keywords):
    save(folder, step, *args, **keywords)
    if step == last:
        raise KeyboardInterrupt


def _same_bytes(run, whole, small):
    return (
        small.weights(run) == small.weights(whole)
        and (run / "metrics.jsonl").read_bytes() == (whole / "metrics.jsonl").read_bytes()
    )


def test_a_fit_goes_on_from_the_one_before_whichever_file_went_bad(stopped, vectors, small, tmp_path, caplog):
    run, whole = stopped
    for name in FILES:
        shutil.copytree(run, tmp_path / name)
        _flip_a_bit(tmp_path / name / "checkpoint" / "step-000000004" / name, 100)
        with caplog.at_level(logging.INFO, "pellucid"):
            vectors(name)
        assert f"step-000000004/{name}" in caplog.text and "at step 3 of 6" in caplog.text
        assert _same_bytes(tmp_path / name, whole, small)
        caplog.clear()


def test_a_fit_whose_checkpoints_all_went_bad_names_them(stopped, vectors):
    run, _ = stopped
    for step in (3, 4):
        _flip_a_bit(run / "checkpoint" / f"step-00000000{step}" / "tensors.safetensors")
    message = r"(?s)no checkpoint in .* is whole: .*step-000000004/tensors.*step-000000003/tensors.*Remove the folder"
    with pytest.raises(FileFormatError, match=message):
        vectors("run")


def test_a_folder_of_the_first_version_goes_on(stopped, vectors, small):
    """Its config lacks settings that came later, its checkpoints their sums and what came with them."""
    run, whole = stopped
    config = yaml.safe_load((run / "config.yaml").read_text())
    for key in ("spikes", "keep_checkpoints"):
        del config[key]
    (run / "config.yaml").write_text(yaml.safe_dump(config))
    shutil.rmtree(run / "checkpoint" / "step-000000003")
    four = run / "checkpoint" / "step-000000004"
    (four / "SHA256SUMS").unlink()
    state = files.read_json(four / "state.json") | {"sha256": files.sha256_file(four / "tensors.safetensors")}
    del state["version"]
    for entry in state["learners"].values():
        del entry["spikes"]
    files.write_json(four / "state.json", state)
    assert _same_bytes(vectors("run"), whole, small)


def test_settings_that_change_no_number_may_change(stopped, vectors, small):
    run, whole = stopped
    assert _same_bytes(vectors("run", keep_checkpoints=1), whole, small)
    assert _steps(run / "checkpoint") == ["step-000000005"]
