"""What a resume needs, replaced atomically: the previous checkpoint survives until the next one is whole."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from torch import Tensor

from pellucid.core import files
from pellucid.core.errors import FileFormatError, RunError
from pellucid.core.logging import log

STATE, TENSORS = "state.json", "tensors.safetensors"
DAMAGED = (FileFormatError, OSError)
"""What reading a checkpoint that is not whole raises."""


def save(folder: Path, step: int, tensors: dict[str, Tensor], state: dict[str, Any]) -> None:
    """Write the checkpoint of `step` beside the previous one, then remove the previous one.

    Raises RunError if it could not be written (a full disk); the previous checkpoint is untouched.
    """
    target = folder / f"step-{step:09d}"
    if target.exists():
        try:
            _read(target)
            return
        except DAMAGED:
            shutil.rmtree(target)  # it was passed over when this fit was resumed
    try:
        with files.atomic_path(target) as inner:
            inner.mkdir()
            files.save_tensors(inner / TENSORS, tensors)
            record = {"step": step, "sha256": files.sha256_file(inner / TENSORS), **state}
            files.write_json(inner / STATE, record)
    except Exception as error:  # safetensors and the OS each have their own way to say that a disk is full
        kept = latest(folder)
        before = f"The one of step {kept[0]} is intact" if kept else "There was none before"
        raise RunError(
            f"the checkpoint of step {step} could not be written to {folder}: {error}. "
            f"{before}; make room and run the same command again."
        ) from error
    for older in _steps(folder):
        if older != target:
            shutil.rmtree(older)


def latest(folder: Path) -> tuple[int, Path] | None:
    """Return the step and folder of the newest checkpoint; None if there is none."""
    steps = _steps(folder)
    return (_number(steps[-1]), steps[-1]) if steps else None


def load(folder: Path) -> tuple[dict[str, Tensor], dict[str, Any]] | None:
    """Read the newest checkpoint that is whole; a corrupted one is named in the log and the one before it is used.

    Raises FileFormatError if there are checkpoints and none is whole.
    """
    problems = []
    for path in reversed(_steps(folder)):
        try:
            return _read(path)
        except DAMAGED as error:
            problems.append(f"{path}: {error}")
            log.warning("checkpoint %s is not whole and is passed over: %s", path, error)
    if problems:
        raise FileFormatError(f"no checkpoint in {folder} is whole: {'; '.join(problems)}. Remove the folder to start again.")
    return None


def _read(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    state = files.read_json(path / STATE)
    if not isinstance(state, dict) or state.get("step") != _number(path):
        raise FileFormatError(f"{path / STATE} is not the state of that step")
    found = files.sha256_file(path / TENSORS)
    if found != state.get("sha256"):
        raise FileFormatError(f"{path / TENSORS} has sha256 {found}, wanted {state.get('sha256')}")
    return files.load_tensors(path / TENSORS), state


def _steps(folder: Path) -> list[Path]:
    return sorted(folder.glob("step-*")) if folder.is_dir() else []


def _number(path: Path) -> int:
    return int(path.name.removeprefix("step-"))
