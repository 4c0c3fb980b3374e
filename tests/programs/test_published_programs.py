"""The programs under benchmarks/mips do their tasks, and the table says of them what is so."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from pellucid.programs.tasks.registry import TASKS

FOLDER = Path(__file__).parents[2] / "benchmarks" / "mips"
ROWS = {row["task"]: row for row in json.loads((FOLDER / "results.json").read_text())["tasks"]}


def test_the_table_has_every_task_once():
    assert list(ROWS) == list(TASKS)


@pytest.mark.parametrize("name", [name for name, row in ROWS.items() if row["solved"]])
def test_program_equals_the_task(name):
    names: dict = {}
    exec((FOLDER / "programs" / name / "program.py").read_text(), names)
    task, generator = TASKS[name], torch.Generator().manual_seed(20261121)
    for n, length in ((100, task.domain.length), (10, 50)):
        for steps in task.sample(n, length, generator).tolist():
            xs = [step[0] if len(step) == 1 else tuple(step) for step in steps]
            assert names["program"](xs) == task.outputs(xs)
