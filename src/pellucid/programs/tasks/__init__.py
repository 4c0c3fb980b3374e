"""What a program has to do: rules with exact integer outputs, and sequences in files."""

from pellucid.programs.tasks.base import InputDomain, Task
from pellucid.programs.tasks.data_files import load_examples
from pellucid.programs.tasks.examples import Examples
from pellucid.programs.tasks.registry import TASKS, named_task
from pellucid.programs.tasks.task_file import FileTask, load_task

__all__ = ["TASKS", "Examples", "FileTask", "InputDomain", "Task", "load_examples", "load_task", "named_task"]
