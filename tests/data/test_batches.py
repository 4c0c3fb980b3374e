from __future__ import annotations

from typing import Any

import pytest
import torch

from pellucid.core.errors import ConfigError, DataError
from pellucid.data import Batch, DataSource
from pellucid.hosts.trees import map_tensors


class Numbers(DataSource):
    """Row i is the number i; held-out rows are negative."""

    def train_rows(self, indices) -> Batch:
        return Batch(indices.float()[:, None])

    def held_out_rows(self, indices) -> Batch:
        return Batch(-1 - indices.float()[:, None])

    def digest(self) -> str:
        return "none"

    def describe(self) -> dict[str, Any]:
        return {}


def numbers(n_train: int = 10, n_held_out: int = 5, seed: int = 0) -> Numbers:
    return Numbers(n_train, n_held_out, 1, seed)


def walk(source: DataSource, steps: int, size: int) -> list[int]:
    return torch.cat([source.train_indices(step, size) for step in range(steps)]).tolist()


@pytest.mark.parametrize("size", [1, 3, 7, 10, 23])
def test_each_epoch_visits_each_row_once(size):
    rows = walk(numbers(), 70 // size + 1, size)
    for epoch in range(7):
        assert sorted(rows[epoch * 10 : (epoch + 1) * 10]) == list(range(10))


@pytest.mark.parametrize("size", [1, 3, 7, 10, 23])
def test_the_walk_does_not_depend_on_the_batch_size(size):
    assert walk(numbers(), 60 // size, size) == walk(numbers(), 1, 60)[: 60 // size * size]


def test_random_access_equals_walking_in_order():
    sequential, jumping = numbers(), numbers()
    in_order = [sequential.train_batch(step, 4).inputs for step in range(20)]
    for step in (17, 2, 19, 0, 5, 5, 11):
        assert torch.equal(jumping.train_batch(step, 4).inputs, in_order[step])


def test_epochs_and_seeds_differ_and_repeat():
    rows = walk(numbers(50), 2, 50)
    assert rows[:50] != rows[50:]
    assert rows == walk(numbers(50), 2, 50)
    assert rows != walk(numbers(50, seed=1), 2, 50)
    # (seed, epoch) must not be one number: seed 1, epoch 0 is not seed 0, epoch 1
    assert rows[50:] != walk(numbers(50, seed=1), 1, 50)


def test_the_global_generator_is_neither_read_nor_moved():
    torch.manual_seed(3)
    state = torch.get_rng_state()
    first = walk(numbers(), 3, 4)
    assert torch.equal(state, torch.get_rng_state())
    torch.manual_seed(4)
    assert walk(numbers(), 3, 4) == first


def test_held_out_rows_come_in_order_and_end_with_a_smaller_batch():
    batches = [batch.inputs.flatten().tolist() for batch in numbers().held_out_batches(2)]
    assert batches == [[-1, -2], [-3, -4], [-5]]


def test_limit_rows_cuts_the_held_out_rows():
    batches = [batch.inputs.flatten().tolist() for batch in numbers().held_out_batches(2, limit_rows=3)]
    assert batches == [[-1, -2], [-3]]
    assert sum(len(batch.inputs) for batch in numbers().held_out_batches(2, limit_rows=99)) == 5


def test_bad_numbers_are_refused_together():
    with pytest.raises(ConfigError, match=r"(?s)step is -1, wanted 0 or more.*batch size is 0, wanted 1 or more"):
        numbers().train_batch(-1, 0)
    with pytest.raises(ConfigError, match=r"(?s)batch size is 0.*limit_rows is 0"):
        numbers().held_out_batches(0, limit_rows=0)


def test_scoring_without_held_out_rows_is_refused():
    with pytest.raises(DataError, match=r"no row is held out .* set held_out"):
        numbers(n_held_out=0).held_out_batches(2)


def test_a_batch_moves_with_all_its_tensors():
    batch = Batch({"a": torch.ones(2, 3), "flag": True}, torch.ones(2, 3, dtype=torch.bool), torch.ones(2, dtype=torch.int64))
    moved = batch.to("meta")
    assert moved.inputs["a"].device.type == moved.keep.device.type == moved.labels.device.type == "meta"
    assert moved.inputs["flag"] is True
    assert Batch(torch.ones(1)).to("cpu").keep is None


def test_map_tensors_keeps_the_structure():
    doubled = map_tensors((torch.ones(1), [torch.ones(1)], None), lambda tensor: tensor * 2)
    assert doubled == (torch.full((1,), 2.0), [torch.full((1,), 2.0)], None)
