"""A user's task file: what it gives, and what is said when it is wrong."""

from __future__ import annotations

import pytest
import torch

from pellucid.core.errors import ConfigError, DataError
from pellucid.programs.tasks import Task, load_task

HEAD = "LOW, HIGH, LENGTH = 0, 5, 6\n"


@pytest.fixture
def write(tmp_path):
    def inner(text):
        path = tmp_path / "my_task.py"
        path.write_text(text)
        return path

    return inner


def test_a_task_file_is_a_task(write):
    task = load_task(write(HEAD + "def outputs(xs):\n    return [max(xs[: t + 1]) for t in range(len(xs))]\n"))
    assert isinstance(task, Task) and task.name == "my_task" and task.domain.length == 6
    xs = task.sample(30, 9, torch.Generator().manual_seed(0))
    assert torch.equal(task.outputs_of(xs), xs.cummax(1).values)


def test_several_numbers_in_and_out(write):
    text = "LOW, HIGH, LENGTH, WIDTH = -2, 2, 4, 2\ndef outputs(xs):\n    return [(p + q, p - q) for p, q in xs]\n"
    task = load_task(write(text))
    xs = task.sample(5, 4, torch.Generator().manual_seed(0))
    assert task.out_width == 2
    assert torch.equal(task.outputs_of(xs), torch.stack((xs.sum(2), xs[:, :, 0] - xs[:, :, 1]), 2))


BAD = {
    "syntax": (HEAD + "def outputs(xs)\n    return xs\n", "line 2"),
    "missing": ("LOW = 0\nHIGHT = 3\ndef output(xs):\n    return xs\n", "(?s)HIGH is missing.*HIGHT.*LENGTH.*output"),
    "kind": ("LOW, HIGH, LENGTH = 0.5, 3, 4\ndef outputs(xs):\n    return xs\n", "LOW is 0.5"),
    "bounds": ("LOW, HIGH, LENGTH = 5, 3, 4\ndef outputs(xs):\n    return xs\n", "above the highest"),
    "raises at start": ("import no_such_module\n", "line 1.*no_such_module"),
    "exits": ("raise SystemExit(3)\n", "line 1.*SystemExit"),
    "raises": (HEAD + "def outputs(xs):\n    y = 1\n    return [1 // (x - x) for x in xs]\n", "line 4.*ZeroDivisionError"),
    "no list": (HEAD + "def outputs(xs):\n    return 3\n", "returned int"),
    "length": (HEAD + "def outputs(xs):\n    return xs[1:]\n", "5 outputs for 6 inputs"),
    "float": (HEAD + "def outputs(xs):\n    return [x / 2 for x in xs]\n", "output 1 .*float.*int"),
    "none": (HEAD + "def outputs(xs):\n    return [None for x in xs]\n", "NoneType"),
    "huge": (HEAD + "def outputs(xs):\n    return [2**60 for x in xs]\n", "2\\^53"),
    "ragged": (HEAD + "def outputs(xs):\n    return [(1, 2)] + [3] * (len(xs) - 1)\n", "output 2 .*wanted 2 integers"),
    "random": (HEAD + "import random\ndef outputs(xs):\n    return [random.randrange(9**9) for x in xs]\n", "deterministic"),
    "future": (HEAD + "def outputs(xs):\n    return [sum(xs) + len(xs) for x in xs]\n", "inputs so far alone"),
}


@pytest.mark.parametrize("kind", BAD)
def test_what_is_wrong_is_said_with_its_place(write, kind):
    text, said = BAD[kind]
    with pytest.raises((ConfigError, DataError), match=said) as caught:
        load_task(write(text))
    assert "my_task.py" in str(caught.value)


def test_outputs_are_checked_in_every_sequence(write):
    task = load_task(write(HEAD + "def outputs(xs):\n    return [x if xs[:3] != [5, 5, 5] else 0.5 for x in xs]\n"))
    with pytest.raises(DataError, match=r"output 1 of outputs\(\[5, 5, 5, 1\]\) is 0.5"):
        task.outputs_of(torch.tensor([[[1], [1], [1], [1]], [[5], [5], [5], [1]]]))


def test_missing_file(tmp_path):
    with pytest.raises(ConfigError, match="does not exist"):
        load_task(tmp_path / "nothing.py")
