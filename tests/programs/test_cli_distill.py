"""`pellucid distill` as a user types it: from data, from a network, from a task file; and what is said when it cannot be."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from tests.programs.machines import program_of
from torch import nn

from pellucid import cli
from pellucid.programs.networks import RecurrentNetwork, Shape, save_network, save_torch_network
from pellucid.programs.proof import sequences

PROMISED = {
    "solved", "form", "exact_at_training_length", "exact_at_any_length", "network_agreement", "network_errors", "states",
    "method", "seconds_training", "seconds_distilling", "reason",
}  # fmt: skip
QUICK = ("--search.sequences", "400", "--search.seconds", "6", "--training.checked", "1024", "--training.pool", "2048")


@pytest.fixture(autouse=True)
def _few_trials(monkeypatch):
    """Proof on fewer sequences of the same lengths; test_proof.py has the full counts."""
    for name, value in (("AT_TRAINING_LENGTH", 400), ("MEDIUM", (40, 50)), ("LONG", (10, 200))):
        monkeypatch.setattr(sequences, name, value)


def distill(capsys, out: Path, *arguments: str) -> tuple[int, dict, str]:
    """Return exit status, the JSON object printed last, and what went to stderr."""
    status = cli.main(["distill", "--out", str(out), "--json", *QUICK, *map(str, arguments)])
    captured = capsys.readouterr()
    lines = captured.out.splitlines()
    assert len(lines) == 1, "one JSON object and nothing else on stdout"
    return status, json.loads(lines[0]), captured.err


def affine(w, v, c, b=0.0, d=0.0) -> RecurrentNetwork:
    """One number of state: h' = w h + v x + b, y = c h + d."""
    tensor = lambda *rows: torch.tensor(rows, dtype=torch.float64)  # noqa: E731
    return RecurrentNetwork(Shape(1), 1, 1, [(tensor([w, v]), tensor(b))], [(tensor([c]), tensor(d))])


def rows(n: int = 250, length: int = 5) -> tuple[list, list]:
    """Running sums of bits and their doubles, each sequence once."""
    xs = np.random.default_rng(0).integers(0, 4, (n, length))
    xs = np.unique(xs, axis=0)
    return xs.tolist(), (2 * xs.cumsum(1)).tolist()


def write_csv(path: Path) -> None:
    lines = [f"{k},{x},{y}" for k, (xs, ys) in enumerate(zip(*rows(), strict=True)) for x, y in zip(xs, ys, strict=True)]
    path.write_text("\n".join(["sequence,x,y", *lines]) + "\n")


def write_jsonl(path: Path) -> None:
    path.write_text("".join(json.dumps({"x": xs, "y": ys}) + "\n" for xs, ys in zip(*rows(), strict=True)))


def write_npz(path: Path) -> None:
    xs, ys = rows()
    np.savez(path, x=np.array(xs), y=np.array(ys))


@pytest.mark.parametrize(("ending", "write"), [("csv", write_csv), ("jsonl", write_jsonl), ("npz", write_npz)])
def test_data_becomes_a_program(tmp_path, capsys, ending, write):
    data, out = tmp_path / f"rows.{ending}", tmp_path / "out"
    write(data)
    status, found, _ = distill(capsys, out, "--data", data)
    assert status == 0 and set(found) >= PROMISED and found["solved"] and found["form"] == "formula"
    assert found["exact_at_training_length"] is True and found["exact_at_any_length"] is None, "rows say nothing of length 50"
    assert found["network_errors"] == 0 and found["reason"] is None and found["seconds_training"] >= 0
    kept = json.loads((out / "summary.json").read_text())
    assert {key: found[key] for key in kept} == kept
    assert program_of((out / "program.py").read_text())([1, 0, 3, 2]) == [2, 2, 8, 12]


BAD = {
    "contradiction.jsonl": (
        '{"x": [0, 1, 1], "y": [0, 1, 0]}\n{"x": [0, 1, 0], "y": [0, 5, 0]}\n',
        "rows 1 and 2 contradict each other: both begin with [0, 1], but output 2 is 1 in one and 5 in the other",
    ),
    "ragged.jsonl": ('{"x": [0, 1], "y": [0, 1]}\n{"x": [0], "y": [0]}\n', "line 2: 1 steps, but"),
    "empty.jsonl": ('{"x": [], "y": []}\n', "line 1, x: the sequence is empty"),
    "nothing.csv": ("sequence,x,y\n", "holds no sequences"),
    "infinite.csv": ("sequence,x,y\n0,1,1\n0,inf,1\n", "step 2 is inf, wanted a whole number below 2^53"),
    "ragged.csv": ("sequence,x,y\n0,1,1\n0,1,1\n1,1,1\n", "line 4: 1 steps"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_data_is_refused_with_its_place(tmp_path, capsys, name):
    text, said = BAD[name]
    path = tmp_path / name
    path.write_text(text)
    status, found, err = distill(capsys, tmp_path / "out", "--data", path)
    assert status == 2 and said in found["error"] and str(path) in found["error"] and said in err
    assert not (tmp_path / "out").exists()


def test_bad_npz_is_refused_with_its_place(tmp_path, capsys):
    path = tmp_path / "rows.npz"
    np.savez(path, x=np.zeros((3, 2)), y=np.array([[0, 0], [0, np.nan], [0, 0]]))
    status, found, _ = distill(capsys, tmp_path / "out", "--data", path)
    assert status == 2 and "'y', sequence 2 step 2, is nan" in found["error"]


def test_a_network_alone_with_its_inputs(tmp_path, capsys):
    save_network(tmp_path / "net", affine(1.0, 0.5, 2.0, d=3.0))
    status, found, _ = distill(capsys, tmp_path / "out", "--network", tmp_path / "net", "--low", "-4", "--high", "4")
    assert status == 0 and found["solved"] and found["exact_at_training_length"] is None and found["network_errors"] is None
    assert found["seconds_training"] is None and found["network_agreement"] == 1.0
    assert program_of((tmp_path / "out/program.py").read_text())([1, -2, 4]) == [4, 2, 6]
    assert found["simplification"]["errors"]["whitening"] < 1e-9


def test_a_network_held_against_a_task(tmp_path, capsys):
    save_network(tmp_path / "good", affine(0.0, -1.0, 1.0, d=1.0))
    status, found, _ = distill(capsys, tmp_path / "out", "--network", tmp_path / "good", "--task", "Bitwise_Not")
    assert status == 0 and found["solved"] and found["exact_at_any_length"] and found["network_errors"] == 0
    save_network(tmp_path / "bad", affine(1.0, 1.0, 1.0))
    status, found, _ = distill(capsys, tmp_path / "out", "--network", tmp_path / "bad", "--task", "Bitwise_Not")
    assert status == 0 and not found["solved"] and "the network does not do the task" in found["reason"]
    assert not (tmp_path / "out/program.py").exists(), "the program of the run before is gone"


def latch(kind: type) -> tuple[nn.Module, nn.Linear]:
    """A saturated cell that gives the last input again, by weights set by hand."""
    core, head = kind(1, 1), nn.Linear(1, 1)
    for parameter in [*core.parameters(), *head.parameters()]:
        parameter.data.zero_()
    if kind is nn.RNN:
        core.weight_ih_l0.data[:] = 40
        core.bias_ih_l0.data[:] = -20  # tanh(-20) = -1 for 0, tanh(20) = 1 for 1
        head.weight.data[:], head.bias.data[:] = 0.5, 0.5
    elif kind is nn.GRU:
        core.bias_ih_l0.data[:] = torch.tensor([0.0, -40, -20])  # reset, update: never the old state, candidate
        core.weight_ih_l0.data[2] = 40
        head.weight.data[:], head.bias.data[:] = 0.5, 0.5
    else:
        core.bias_ih_l0.data[:] = torch.tensor([40.0, -40, -20, 40])  # input gate open, forget gate shut, cell, output open
        core.weight_ih_l0.data[2] = 40
        head.weight.data[:], head.bias.data[:] = 0.5 / np.tanh(1), 0.5
    return core, head


@pytest.mark.parametrize("kind", [nn.RNN, nn.GRU, nn.LSTM])
def test_networks_of_torch_saved_and_distilled(tmp_path, capsys, kind):
    save_torch_network(tmp_path / "net", *latch(kind))
    arguments = ("--network", tmp_path / "net", "--low", "0", "--high", "1", "--length", "6")
    status, found, _ = distill(capsys, tmp_path / "out", *arguments)
    assert status == 0 and found["solved"] and found["form"] == "formula", found["reason"]
    assert program_of((tmp_path / "out/program.py").read_text())([1, 0, 0, 1]) == [1, 0, 0, 1]


def test_an_exploding_state_is_a_clear_error(tmp_path, capsys):
    save_network(tmp_path / "net", affine(1e3, 1e40, 1e250))
    arguments = ("--network", tmp_path / "net", "--low", "0", "--high", "1", "--length", "40")
    status, found, err = distill(capsys, tmp_path / "out", *arguments)
    assert status == 2 and found["kind"] == "NumericsError" and "not finite; wanted numbers up to step 40" in found["error"]
    assert "Traceback" not in err


def test_a_network_of_other_widths_names_both(tmp_path, capsys):
    save_network(tmp_path / "net", affine(1.0, 1.0, 1.0))
    status, found, _ = distill(capsys, tmp_path / "out", "--network", tmp_path / "net", "--task", "Binary_Addition")
    assert status == 2 and "the network reads 1 numbers a step" in found["error"] and "2" in found["error"]


TASK = """LOW, HIGH, LENGTH = -3, 3, 5


def outputs(xs):
    total, ys = 0, []
    for x in xs:
        total -= x
        ys.append(total + 4)
    return ys
"""


def test_a_task_file_and_what_is_kept_for_the_next_time(tmp_path, capsys):
    task, out = tmp_path / "my_task.py", tmp_path / "out"
    task.write_text(TASK)
    status, found, _ = distill(capsys, out, "--task", task)
    assert status == 0 and found["solved"] and found["exact_at_any_length"] is True
    assert program_of((out / "program.py").read_text())([3, -1, 2]) == [1, 2, 0]
    weights = (out / "network/weights.safetensors").read_bytes()
    source = (out / "program.py").read_bytes()
    status, again, _ = distill(capsys, out, "--task", task)
    assert again["seconds_training"] == found["seconds_training"], "the network was kept, not trained again"
    assert (out / "network/weights.safetensors").read_bytes() == weights and (out / "program.py").read_bytes() == source


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "nothing to start from; give --task NAME or FILE, --data FILE, or --network FOLDER"),
        (("--task", "Sum_All", "--data", "rows.csv"), "--task and --data are both given; give one of them"),
        (("--network", "net"), "a network alone does not say which inputs it takes; give --low and --high"),
        (
            ("--network", "nowhere", "--low", "0", "--high", "1"),
            "nowhere/config.json does not exist. A recurrent network is a folder",
        ),
        (("--task", "Sum_Al"), "there is no task 'Sum_Al'. Did you mean 'Sum_All'"),
        (("--task", "none.py"), "task file none.py does not exist"),
        (("--data", "rows.txt"), "data file rows.txt does not exist"),
        (("--task", "Sum_All", "--search.max-states", "0"), "greater than or equal to 1"),
    ],
)
def test_what_cannot_be_is_said_before_any_work(tmp_path, capsys, monkeypatch, arguments, said):
    monkeypatch.chdir(tmp_path)
    status, found, err = distill(capsys, tmp_path / "out", *arguments)
    assert status == 2 and said in found["error"] and said in err
    assert not (tmp_path / "out").exists()
