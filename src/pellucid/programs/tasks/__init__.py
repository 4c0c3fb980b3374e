"""What a program has to do: rules with exact integer outputs, and sequences in files."""

from pellucid.programs.tasks.base import InputDomain, Task

__all__ = ["InputDomain", "Task"]
