"""What a resume needs, whole or not at all: older checkpoints survive until a newer one is whole, and every file is checked."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from torch import Tensor

from pellucid.core import files
from pellucid.core.errors import FileFormatError, RunError
from pellucid.core.logging import log

STATE, TENSORS, SUMS = "state.json", "tensors.safetensors", "SHA256SUMS"
VERSION = 2
"""Version of the format. 1 had no SUMS: the sum of its tensors stood in its state, which nothing covered."""
DAMAGED = (FileFormatError, OSError)
"""What reading a checkpoint that is not whole raises."""


def save(
    folder: Path,
    step: int,
    tensors: dict[str, Tensor],
    state: dict[str, Any],
    *,
    keep: int = 2,
    needed: Callable[[list[int]], set[int]] = lambda kept: set(kept),
) -> None:
    """Write the checkpoint of `step` beside the older ones, then remove all but the newest `keep` of all.

    `needed` is given the steps that stay and returns those that have to stay as well.
    Raises RunError if it could not be written (a full disk); the older checkpoints are untouched.
    """
    target = folder / f"step-{step:09d}"
    if target.exists():
        try:
            read(target)
            return
        except DAMAGED:
            shutil.rmtree(target)  # it was passed over when this fit was resumed
    try:
        with files.atomic_path(target) as inner:
            inner.mkdir()
            files.save_tensors(inner / TENSORS, tensors, atomic=False)
            files.write_json(inner / STATE, {"version": VERSION, "step": step, **state}, atomic=False)
            files.write_text(inner / SUMS, _sums(inner), atomic=False)
    except Exception as error:  # safetensors and the OS each have their own way to say that a disk is full
        kept = latest(folder)
        before = f"The one of step {kept[0]} is intact" if kept else "There was none before"
        raise RunError(
            f"the checkpoint of step {step} could not be written to {folder}: {error}. "
            f"{before}; make room and run the same command again."
        ) from error
    found = {_number(path): path for path in _steps(folder)}
    staying = sorted(number for number in found if number <= step)[-keep:]  # a later one was passed over as damaged
    for number in found.keys() - set(staying) - needed(staying):
        shutil.rmtree(found[number])


def latest(folder: Path) -> tuple[int, Path] | None:
    """Return the step and folder of the newest checkpoint; None if there is none."""
    steps = _steps(folder)
    return (_number(steps[-1]), steps[-1]) if steps else None


def load(folder: Path) -> tuple[dict[str, Tensor], dict[str, Any]] | None:
    """Read the newest checkpoint that is whole; a corrupted one is named in the log and the one before it is used.

    Raises FileFormatError naming all of them if there are checkpoints and none is whole.
    """
    problems = []
    for path in reversed(_steps(folder)):
        try:
            return read(path)
        except DAMAGED as error:
            problems.append(str(error))
            log.warning("checkpoint %s is not whole and is passed over: %s", path, error)
    if problems:
        raise FileFormatError(f"no checkpoint in {folder} is whole: {'; '.join(problems)}. Remove the folder to start again.")
    return None


def load_step(folder: Path, step: int) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Read the checkpoint of a step; FileFormatError if it is not there or not whole."""
    try:
        return read(folder / f"step-{step:09d}")
    except OSError as error:
        raise FileFormatError(f"the checkpoint of step {step} cannot be read: {error}") from None


def read(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Read one checkpoint; FileFormatError names the file that is missing or whose bytes are not those that were written."""
    if (path / SUMS).exists():
        _check_sums(path)
    state = files.read_json(path / STATE)
    if not isinstance(state, dict) or state.get("step") != _number(path):
        raise FileFormatError(f"{path / STATE} is not the state of that step")
    version = state.get("version", 1)
    if version not in (1, VERSION):
        raise FileFormatError(f"{path / STATE} has version {version!r}; this pellucid reads 1 and {VERSION}")
    if version == VERSION and not (path / SUMS).exists():
        raise FileFormatError(f"{path / SUMS} does not exist")
    if version == 1 and (found := files.sha256_file(path / TENSORS)) != state.get("sha256"):
        raise FileFormatError(f"{path / TENSORS} has sha256 {found}, wanted {state.get('sha256')}")
    return files.load_tensors(path / TENSORS), state


def _sums(path: Path) -> str:
    """Return what `sha256sum` prints for the other files of a checkpoint."""
    return "".join(f"{files.sha256_file(path / name)}  {name}\n" for name in (STATE, TENSORS))


def _check_sums(path: Path) -> None:
    text = (path / SUMS).read_bytes()
    found = _sums(path)
    if text == found.encode():
        return
    wanted = text.decode(errors="replace").splitlines()
    for line, name in zip(found.splitlines(), (STATE, TENSORS), strict=True):
        listed = [other.split("  ")[0] for other in wanted if other.endswith(f"  {name}")]
        if len(wanted) == 2 and listed and listed[0] != line.split("  ")[0] and _is_sum(listed[0]):
            raise FileFormatError(f"{path / name} has sha256 {line.split('  ')[0]}, but {path / SUMS} says {listed[0]}")
    raise FileFormatError(f"{path / SUMS} does not list the sums of {STATE} and {TENSORS}")


def _is_sum(text: str) -> bool:
    return len(text) == 64 and set(text) <= set("0123456789abcdef")


def _steps(folder: Path) -> list[Path]:
    return sorted(folder.glob("step-*")) if folder.is_dir() else []


def _number(path: Path) -> int:
    return int(path.name.removeprefix("step-"))
