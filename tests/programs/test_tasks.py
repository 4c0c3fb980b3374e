"""The 62 rules: the batched form is the plain form, and both are what the definitions say."""

from __future__ import annotations

import pytest
import torch

from pellucid.core.errors import ConfigError
from pellucid.programs.tasks import TASKS, InputDomain, Task, named_task


def plain(steps):
    return [step[0] if len(step) == 1 else tuple(step) for step in steps]


@pytest.mark.parametrize("name", TASKS)
def test_batched_outputs_are_the_plain_outputs(name):
    task = TASKS[name]
    generator = torch.Generator().manual_seed(0)
    for length in (1, task.domain.length, 23):
        xs = task.sample(20, length, generator)
        ys = task.outputs_of(xs)
        assert ys.shape == (20, length, task.out_width) and ys.dtype == torch.int64
        for x, y in zip(xs.tolist(), ys.tolist(), strict=True):
            assert task.outputs(plain(x)) == plain(y)


@pytest.mark.parametrize("name", TASKS)
def test_inputs_stay_in_the_domain_and_reach_its_bounds(name):
    task = TASKS[name]
    xs = task.sample(2000, task.domain.length, torch.Generator().manual_seed(1))
    assert xs.shape == (2000, task.domain.length, task.domain.width)
    assert (int(xs.min()), int(xs.max())) == (task.domain.low, task.domain.high)
    assert isinstance(task, Task)


BY_HAND = {
    "Binary_Addition": ([(1, 1), (1, 0), (0, 0), (1, 1)], [0, 0, 1, 0]),
    "Base_7_Addition": ([(6, 6), (6, 0), (3, 3)], [5, 0, 0]),
    "Bitwise_Xor": ([(0, 1), (1, 1)], [1, 0]),
    "Bitwise_Or": ([(0, 1), (0, 0)], [1, 0]),
    "Bitwise_And": ([(0, 1), (1, 1)], [0, 1]),
    "Bitwise_Not": ([0, 1], [1, 0]),
    "Parity_Last3": ([1, 1, 1, 0, 0], [1, 0, 1, 0, 1]),
    "Parity_Zeros": ([0, 1, 0, 0], [1, 1, 0, 1]),
    "Evens_Counter": ([0, 3, 8, 9], [1, 1, 2, 2]),
    "Sum_Last2": ([5, 7, 90], [5, 12, 97]),
    "Prev2": ([5, 7, 90], [0, 0, 5]),
    "Previous_Equals_Current": ([0, 0, 3, 3], [1, 1, 0, 1]),
    "Diff_Last2": ([5, -7, 90], [5, -12, 97]),
    "Abs_Diff": ([-5, -7, 90], [5, 2, 97]),
    "Diff_Abs_Values": ([-5, 7, -90], [5, 2, 83]),
    "Min_Seen": ([5, 7, 2], [5, 5, 2]),
    "Majority_0_2": ([2, 1, 1, 2, 0, 0], [2, 1, 1, 1, 1, 0]),
    "Evens_Detector": ([0, 7, 2], [1, 0, 1]),
    "Perfect_Square_Detector": ([0, 1, 2, 4, 9, 15, 16, 17], [1, 1, 0, 1, 1, 0, 1, 0]),
    "Bit_Palindrome": ([0, 1, 0, 0, 0], [1, 0, 1, 0, 0]),
    "Balanced_Parenthesis": ([0, 1, 1, 0, 0, 1], [0, 1, 0, 0, 0, 0]),
    "Parity_Bits_Mod2": ([1, 1, 0], [0, 1, 0]),
    "Alternating_Last3": ([1, 0, 1, 1], [0, 1, 1, 0]),
    "Alternating_Last4": ([1, 0, 1, 0], [0, 0, 1, 1]),
    "Bit_Dot_Prod_Mod2": ([(1, 1), (0, 1), (1, 1)], [1, 1, 0]),
    "Div_5": ([1, 1, 1, 1], [0, 0, 1, 1]),  # 15 / 5 = 0b0011
    "Add_Mod_6": ([5, 5, 2], [5, 4, 0]),
    "Dithering": ([15, 15, 7, 8], [1, 1, 0, 1]),
    "Newton_Freebody": ([1, 0, -2], [1, 2, 1]),
    "Newton_Gravity": ([1, 1, 0], [0, 0, -1]),
    "Newton_Spring": ([1, 0, 0, 0, 0, 0, 0], [1, 1, 0, -1, -1, 0, 1]),
    "Newton_Magnetic": ([(1, 0), (0, 0), (0, 0)], [(1, 0), (2, 1), (2, 3)]),
}


@pytest.mark.parametrize("name", BY_HAND)
def test_outputs_worked_out_by_hand(name):
    xs, ys = BY_HAND[name]
    assert TASKS[name].outputs(xs) == ys


def test_palindromes_are_frequent_in_their_own_sample():
    task = TASKS["Bit_Palindrome"]
    generator = torch.Generator().manual_seed(0)
    own = task.outputs_of(task.sample(4000, 10, generator))[:, :, 0].double().mean(0)
    uniform = task.outputs_of(task.domain.uniform(4000, 10, generator))[:, :, 0].double().mean(0)
    assert own[9] > 0.1 > 0.05 > uniform[9]  # 1 in 9 lengths is 10, against 2^-5
    assert bool((own[1:] > uniform[1:]).all())


def test_outputs_that_outgrow_64_bits_are_refused():
    task = TASKS["Newton_Magnetic"]
    xs = torch.full((2, 200, 2), 10)
    with pytest.raises(ConfigError, match="2\\^53"):
        task.outputs_of(xs)


def test_unknown_task_names_the_nearest():
    with pytest.raises(ConfigError, match="Add_Mod_5"):
        named_task("Add_Mod_55")


def test_domain_lists_all_its_problems():
    with pytest.raises(ConfigError, match=r"(?s)above the highest.*numbers a step.*training length"):
        InputDomain(3, 1, 0, 0)
    assert InputDomain(0, 2, width=2).n_symbols == 9
