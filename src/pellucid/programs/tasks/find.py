"""A task by what a person types: one of the 62 names, or the path of a task file."""

from __future__ import annotations

from pathlib import Path

from pellucid.programs.tasks.registry import named_task
from pellucid.programs.tasks.rule import Rule
from pellucid.programs.tasks.task_file import FileTask, load_task


def is_file(task: str) -> bool:
    """Return whether `task` is a path and not a name."""
    return task.endswith(".py") or "/" in task


def find_task(task: str) -> Rule | FileTask:
    """Return the task of a name or a file; ConfigError if there is none, DataError if its file fails."""
    return load_task(task) if is_file(task) else named_task(task)


def task_name(task: str) -> str:
    """Return what the task's folder and row are called: the name, or the file's without its ending."""
    return Path(task).stem if is_file(task) else task
