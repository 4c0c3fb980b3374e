"""From planted networks to verified programs, and refusals of networks that no program follows."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import pytest
import torch

from pellucid.core.errors import DataError, NumericsError
from pellucid.programs.distill import DistillConfig, distill
from pellucid.programs.distilled import write
from pellucid.programs.networks.base import run
from pellucid.programs.networks.recurrent import RecurrentNetwork
from pellucid.programs.networks.shape import Shape
from pellucid.programs.tasks.base import InputDomain
from pellucid.programs.tasks.examples import Examples
from pellucid.programs.tasks.registry import TASKS

planted = importlib.util.spec_from_file_location("planted", Path(__file__).with_name("planted.py"))
assert planted is not None and planted.loader is not None
p = importlib.util.module_from_spec(planted)
planted.loader.exec_module(p)

QUICK = DistillConfig(sequences=600, seconds=12)


def program_of(source: str):
    names: dict = {}
    exec(source, names)
    return names["program"]


def check(name: str, network, task) -> dict:
    found = distill(network, task.domain, task)
    assert found.solved, found.reason
    summary = found.summary()
    assert summary["exact_at_training_length"] and summary["exact_at_any_length"], name
    assert summary["network_agreement"] == 1.0
    assert "import" not in found.source
    return summary


@pytest.mark.parametrize("name", ["Base_3_Addition", "Newton_Gravity", "Max_Seen", "Previous_Equals_Current"])
def test_planted_network_gives_an_exact_formula(name):
    summary = check(name, *p.planted_task(name))
    assert summary["form"] == "formula"


def test_memoryless_pattern_without_formula_is_a_small_table():
    summary = check("squares", *p.planted_task("Perfect_Square_Detector"))
    assert (summary["form"], summary["table_entries"]) == ("table", 20)


@pytest.mark.evidence
@pytest.mark.parametrize("name", list(TASKS))
def test_all_planted_networks_are_solved(name):
    check(name, *p.planted_task(name))


@pytest.mark.evidence
@pytest.mark.parametrize("name", list(p.new_tasks()))
def test_new_tasks_are_solved_with_the_same_settings(name):
    check(name, *p.planted_new(name))


def test_a_changed_rule_under_the_same_name_changes_the_program():
    sources = []
    for modulus in (4, 5):
        machine = p.scalar(lambda s, x, n=modulus: (s + 2 * x[:, 0]) % n)
        task = p.rule_of(machine, InputDomain(0, 3), name="Add_Mod_3")
        found = distill(p.Planted(machine, 1, 1), task.domain, task, QUICK)
        assert found.solved, found.reason
        xs = [3, 1, 2, 2, 0, 3]
        assert program_of(found.source)(xs) == task.outputs(xs)
        sources.append(found.source)
    assert sources[0] != sources[1]


def random_network(seed: int, n_in: int = 1, n_out: int = 1) -> RecurrentNetwork:
    generator = torch.Generator().manual_seed(seed)
    shape = Shape(4, 2, 8, 2, 8)
    parts = [
        [(torch.randn(o, i, generator=generator).double() / i**0.5, torch.zeros(o).double()) for i, o in sizes]
        for sizes in shape.layers(n_in, n_out)
    ]
    return RecurrentNetwork(shape, n_in, n_out, *parts)


def test_an_untrained_network_is_refused_with_a_reason(tmp_path):
    task = TASKS["Add_Mod_5"]
    found = distill(random_network(0), task.domain, task, QUICK)
    assert not found.solved and "does not do the task" in found.reason
    write(found, tmp_path)
    assert not (tmp_path / "program.py").exists()
    summary = json.loads((tmp_path / "summary.json").read_text())
    assert summary["solved"] is False and summary["reason"] == found.reason


class Unreliable(p.Planted):
    """Errs at a random-looking share of all steps."""

    def step(self, h, x):
        h, y = super().step(h, x)
        wrong = torch.sin(12345 * (h.sum(1, keepdim=True) + x.sum(1, keepdim=True))) > self.threshold
        return h, torch.where(wrong, y + 1, y)


def unreliable(share: float):
    task = TASKS["Parity_All"]
    network = Unreliable(p.mips_machines()["Parity_All"], 1, 1)
    network.machine = _with_clock(network.machine)
    network = Unreliable(([0, 0], network.machine), 1, 1)
    network.threshold = float(torch.cos(torch.tensor(torch.pi * share)))
    return network, task


def _with_clock(step):
    """Carry the number of the whole prefix beside the state, so that errors hang on everything seen."""

    def clocked(z, x):
        state, y = step(z[:, :1], x)
        return torch.cat([state, (3 * z[:, 1:] + 1 + x) % 1009], 1), y

    return clocked


def test_no_program_is_given_for_a_network_that_it_would_not_follow():
    network, task = unreliable(0.03)
    found = distill(network, task.domain, task, QUICK)
    assert not found.solved and found.reason
    assert found.verdict is None or found.verdict.network_agreement < 0.995


def test_a_program_may_be_right_where_the_network_is_wrong():
    network, task = unreliable(0.001)
    found = distill(network, task.domain, task, QUICK)
    assert found.solved, found.reason
    verdict = found.verdict
    assert verdict is not None and verdict.exact_at_any_length
    assert verdict.network_errors is not None and 0 < verdict.network_errors == verdict.right_where_network_is_wrong


def test_a_network_alone_gives_a_program_without_claims_about_a_task():
    network, task = p.planted_task("Parity_All")
    found = distill(network, task.domain, None, QUICK)
    summary = found.summary()
    assert found.solved and summary["exact_at_training_length"] is None and summary["network_agreement"] == 1.0
    assert program_of(found.source)([1, 0, 1, 1]) == [1, 1, 0, 1]


def test_rows_of_data_take_the_place_of_a_rule():
    network, task = p.planted_task("Add_Mod_3")
    xs = task.sample(500, 10, torch.Generator().manual_seed(3)).unique(dim=0)
    found = distill(network, task.domain, Examples("rows", xs, task.outputs_of(xs)), QUICK)
    summary = found.summary()
    assert found.solved and summary["exact_at_training_length"] is True and summary["exact_at_any_length"] is None


def test_files_of_a_distillation(tmp_path):
    network, task = p.planted_task("Div_3")
    found = distill(network, task.domain, task, QUICK)
    write(found, tmp_path)
    assert program_of((tmp_path / "program.py").read_text())([1, 1, 0, 1]) == task.outputs([1, 1, 0, 1])
    automaton = json.loads((tmp_path / "automaton.json").read_text())
    assert automaton["states"] == 3 and len(automaton["transitions"]) == 6
    svg = (tmp_path / "automaton.svg").read_text()
    assert svg.count("<circle") == 4 and "marker-end" in svg
    summary = json.loads((tmp_path / "summary.json").read_text())
    assert summary["states"] == 3 and summary["equivalence"]["proven"] and summary["bounds"]["outside"] == 0
    for key in ("solved", "form", "exact_at_training_length", "exact_at_any_length", "network_agreement", "network_errors"):
        assert key in summary
    for key in ("method", "seconds_training", "seconds_distilling", "reason"):
        assert key in summary


def test_widths_that_do_not_fit_and_exploding_states_are_named():
    network, _ = p.planted_task("Parity_All")
    with pytest.raises(DataError, match="reads 1 numbers a step, the domain has 2"):
        distill(network, InputDomain(0, 1, 2))
    with pytest.raises(NumericsError, match="step"):
        distill(Exploding(), InputDomain(0, 1), None, QUICK)


class Exploding:
    n_state, n_in, n_out = 1, 1, 1

    def initial(self, n):
        return torch.ones(n, 1, dtype=torch.float64)

    def step(self, h, x):
        h = (h * 1e40).pow(2)
        return h, h


def test_what_is_given_is_what_the_network_does():
    """The emitted code is run here as a user would, against the network."""
    network, task = p.planted_new("counter from 0 to 4")
    found = distill(network, task.domain, task, QUICK)
    xs = task.sample(50, 10, torch.Generator().manual_seed(9))
    program = program_of(found.source)
    outputs = torch.tensor([program(row) for row in xs[:, :, 0].tolist()])
    assert torch.equal(outputs, run(network, xs.double())[:, :, 0].round().long())
