"""From a task, or from rows of data, to a network without errors."""

from __future__ import annotations

import json

import pytest
import torch

from pellucid.core.errors import DataError, FileFormatError
from pellucid.programs.ensembles import TrainingConfig, train, train_in
from pellucid.programs.ensembles.affine import impulse_response, realisations
from pellucid.programs.ensembles.budget import Budget
from pellucid.programs.ensembles.ladder import Rung, perceptrons
from pellucid.programs.ensembles.saved import data_digest
from pellucid.programs.ensembles.search import search
from pellucid.programs.ensembles.sequences import Sequences
from pellucid.programs.networks import run
from pellucid.programs.tasks import TASKS, Examples, InputDomain
from pellucid.programs.tasks.rule import Rule

QUICK = TrainingConfig(checked=4096, pool=8192, seconds=60)
AFFINE = {
    "Sum_All": 1,
    "Sum_Last7": 7,
    "Prev4": 5,
    "Diff_Last2": 2,
    "Bitwise_Not": 1,
    "Bitwise_And": 1,
    "Parity_Bits_Mod2": 1,
    "Newton_Gravity": 2,
    "Newton_Spring": 2,
    "Newton_Magnetic": 4,
}


@pytest.mark.parametrize("name", AFFINE)
def test_affine_tasks_are_found_by_least_squares_with_the_smallest_state(name):
    task = TASKS[name]
    generator = torch.Generator().manual_seed(0)
    xs = task.sample(2000, task.domain.length, generator)
    response, error = impulse_response(xs, task.outputs_of(xs))
    assert error < 0.5
    fresh = task.sample(2000, 40, generator)
    exact = [n for n in realisations(response, 8) if torch.equal(run(n, fresh.double()).round().long(), task.outputs_of(fresh))]
    assert exact[0].n_state == AFFINE[name]


def test_a_task_is_learned_without_errors_at_any_length():
    trained = train(TASKS["Bitwise_Xor"], QUICK)
    assert trained.method == "gradient" and trained.exact and trained.exact_longer
    task = TASKS["Bitwise_Xor"]
    xs = task.sample(500, 60, torch.Generator().manual_seed(9))
    assert torch.equal(run(trained.network, xs.double()).round().long(), task.outputs_of(xs))


def test_the_name_of_a_task_does_not_matter_but_its_rule_does():
    """Another rule under a known name: what is learned is the rule."""
    minimum, flipped = TASKS["Bitwise_And"], TASKS["Bitwise_Or"]
    renamed = Rule("Bitwise_And", flipped.domain, flipped.plain, flipped.batched)
    a, b, c = (train(task, QUICK).network for task in (minimum, flipped, renamed))
    assert all(torch.equal(x, y) for x, y in zip(b.tensors().values(), c.tensors().values(), strict=True))
    assert not all(torch.equal(x, y) for x, y in zip(a.tensors().values(), c.tensors().values(), strict=True))


def test_the_seed_fixes_the_network():
    def weights(seed):
        rung = Rung(perceptrons(2, 8), 4, 60)
        config = QUICK.model_copy(update={"seed": seed})
        return search(rung, Sequences(TASKS["Parity_All"], config), config, Budget(60.0)).members.flat

    assert torch.equal(weights(1), weights(1))
    assert not torch.equal(weights(1), weights(2))


def test_losers_are_dropped():
    rung = Rung(perceptrons(2, 8), 16, 40)
    found = search(rung, Sequences(TASKS["Add_Mod_7"], QUICK), QUICK, Budget(60.0))
    assert len(found.members) == 4 and found.steps == 40
    assert list(found.error) == sorted(found.error)


def test_rows_of_data_are_enough():
    task = TASKS["Sum_Last3"]
    xs = task.sample(300, 10, torch.Generator().manual_seed(3))
    trained = train(Examples("rows", xs, task.outputs_of(xs)), QUICK)
    assert trained.exact and trained.errors == {10: (0, 60)}  # a fifth of the rows is held out
    longer = task.sample(200, 50, torch.Generator().manual_seed(4))
    assert torch.equal(run(trained.network, longer.double()).round().long(), task.outputs_of(longer))


def test_held_out_rows_are_never_trained_on():
    xs = torch.arange(50).view(50, 1, 1)
    sequences = Sequences(Examples("rows", xs, xs), QUICK)
    held = set(sequences.fresh(100, 1)[0].flatten().tolist())
    seen = {round(float(v) * 24.5 + 24.5) for _ in range(20) for v in sequences.batch(16, 1)[0].flatten()}
    assert len(held) == 10 and not held & seen and len(seen) == 40


def test_too_few_rows_are_refused():
    xs = torch.zeros(4, 3, 1, dtype=torch.int64)
    with pytest.raises(DataError, match="at least 5"):
        train(Examples("rows", xs, xs), QUICK)


def test_what_cannot_be_learned_comes_back_with_its_errors():
    """Outputs without any rule, and a limit of a moment: the best network says how often it is wrong."""
    generator = torch.Generator().manual_seed(0)
    table = torch.randint(0, 2, (2**16,), generator=generator)

    def batched(xs):
        code = torch.ones(len(xs), dtype=torch.int64)
        ys = []
        for t in range(xs.shape[1]):
            code = (code * 4099 + xs[:, t, 0] * 7 + 1) % 2**16
            ys.append(table[code])
        return torch.stack(ys, 1)

    task = Rule("noise", InputDomain(0, 9), lambda xs: batched(torch.tensor(xs).view(1, -1, 1))[0].tolist(), batched)
    trained = train(task, QUICK.model_copy(update={"seconds": 1.0}))
    assert not trained.exact and trained.errors[10][0] > 0


def test_slow_tasks_are_asked_in_bounds():
    asked = 0

    def slow(xs):
        nonlocal asked
        asked += len(xs)
        sum(range(200_000 * len(xs)))
        return xs[:, :, 0]

    task = Rule("slow", InputDomain(0, 1), lambda xs: xs, slow)
    config = QUICK.model_copy(update={"generating": 0.5})
    sequences = Sequences(task, config)
    for _ in range(20):
        sequences.fresh(4096, 10)
    assert 64 <= asked < 4096


def test_a_folder_keeps_what_was_trained(tmp_path):
    task, other = TASKS["Sum_Last2"], TASKS["Diff_Last2"]
    first = train_in(tmp_path, task, QUICK)
    again = train_in(tmp_path, task, QUICK)
    assert again.errors == first.errors and again.seconds == first.seconds and again.exact
    assert all(torch.equal(a, b) for a, b in zip(first.network.f[0], again.network.f[0], strict=True))
    changed = Rule(task.name, task.domain, other.plain, other.batched)  # another rule under the same name
    assert data_digest(changed) != data_digest(task)
    assert not torch.equal(train_in(tmp_path, changed, QUICK).network.f[0][0], first.network.f[0][0])


def test_a_damaged_record_is_refused(tmp_path):
    train_in(tmp_path, TASKS["Sum_Last2"], QUICK)
    config = json.loads((tmp_path / "config.json").read_text())
    config["provenance"]["errors"] = [[10, "many"]]
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(FileFormatError, match="record of the training is damaged"):
        train_in(tmp_path, TASKS["Sum_Last2"], QUICK)
