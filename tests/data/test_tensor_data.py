from __future__ import annotations

import json

import pytest
import torch

from pellucid.core.errors import ConfigError, DataError
from pellucid.data import TensorData


def numbered(n=20, *shape):
    """Row i holds i everywhere."""
    return torch.arange(n).float().view(n, *[1] * len(shape)).expand(n, *shape).clone()


def test_every_row_is_either_trained_on_or_held_out():
    data = TensorData(numbered(20, 3), held_out=0.3)
    assert (data.n_train, data.n_held_out) == (14, 6)
    train = data.train_batch(0, 14).inputs[:, 0].tolist()
    held_out = torch.cat([batch.inputs for batch in data.held_out_batches(4)])[:, 0].tolist()
    assert sorted(train + held_out) == list(range(20))


def test_labels_go_with_their_rows():
    data = TensorData(numbered(20, 3), labels=torch.arange(20) * 10)
    for batch in (data.train_batch(0, 30), *data.held_out_batches(2)):
        assert torch.equal(batch.labels, batch.inputs[:, 0].long() * 10)
        assert batch.keep is None


def test_tuples_and_dicts_keep_their_form():
    first, second = numbered(20, 3), numbered(20, 2, 2) + 100
    batch = TensorData((first, second)).train_batch(1, 7)
    assert isinstance(batch.inputs, tuple) and batch.inputs[1].shape == (7, 2, 2)
    assert torch.equal(batch.inputs[0][:, 0] + 100, batch.inputs[1][:, 0, 0])
    batch = TensorData({"x": first, "y": second}).train_batch(1, 7)
    assert torch.equal(batch.inputs["x"][:, 0] + 100, batch.inputs["y"][:, 0, 0])


def test_time_first_rows_stay_on_their_dimension():
    sequence, state = numbered(20, 5, 3).transpose(0, 1), numbered(20, 2, 4).transpose(0, 1)
    labels = torch.arange(20).expand(5, 20)
    data = TensorData((sequence, state), labels=labels, row_dim=1)
    batch = data.train_batch(0, 6)
    assert batch.inputs[0].shape == (5, 6, 3) and batch.inputs[1].shape == (2, 6, 4) and batch.labels.shape == (5, 6)
    assert torch.equal(batch.inputs[0][0, :, 0], batch.inputs[1][1, :, 3])
    assert torch.equal(batch.labels[2], batch.inputs[0][0, :, 0].long())
    one_each = TensorData(sequence, labels=torch.arange(20), row_dim=1).train_batch(0, 6)
    assert torch.equal(one_each.labels, one_each.inputs[0, :, 0].long())


@pytest.mark.parametrize(
    ("inputs", "row_dim", "positions"),
    [
        (torch.zeros(4, 7), 0, 1),
        (torch.zeros(4), 0, 1),
        (torch.zeros(4, 5, 7), 0, 5),
        (torch.zeros(5, 4, 7), 1, 5),
        (torch.zeros(4, 5, dtype=torch.int64), 0, 5),
    ],
)
def test_positions_per_row(inputs, row_dim, positions):
    assert TensorData(inputs, row_dim=row_dim).positions_per_row == positions
    assert TensorData(inputs, row_dim=row_dim, positions_per_row=9).positions_per_row == 9


def test_the_seed_decides_split_order_and_digest():
    first, again, other = (TensorData(numbered(50, 2), seed=seed) for seed in (0, 0, 1))
    assert torch.equal(first.train_batch(3, 9).inputs, again.train_batch(3, 9).inputs)
    assert first.digest() == again.digest() and first.digest() != other.digest()
    assert not torch.equal(first.train_batch(3, 9).inputs, other.train_batch(3, 9).inputs)
    assert not torch.equal(next(first.held_out_batches(5)).inputs, next(other.held_out_batches(5)).inputs)


def test_the_digest_sees_values_labels_and_settings():
    inputs = numbered(20, 3)
    digests = [
        TensorData(inputs).digest(),
        TensorData(inputs + 1).digest(),
        TensorData(inputs, labels=torch.arange(20)).digest(),
        TensorData(inputs, held_out=0.2).digest(),
        TensorData((inputs,)).digest(),
    ]
    assert len(set(digests)) == len(digests)


def test_describe_is_json():
    described = json.loads(json.dumps(TensorData((numbered(20, 3),), labels=torch.arange(20)).describe()))
    assert described["inputs"] == {"inputs[0]": "(20, 3) float32"} and described["labels"] == "(20,) int64"
    assert described["rows_train"] == 18 and described["rows_held_out"] == 2


def test_all_that_does_not_fit_is_said_at_once():
    spoiled = numbered(20, 3)
    spoiled[3, 1], spoiled[4, 0] = float("nan"), float("inf")
    with pytest.raises(DataError) as error:
        TensorData((spoiled, numbered(19, 3), torch.tensor(1.0)), labels=torch.zeros(18))
    message = str(error.value)
    assert "inputs[0] holds 2 values that are not finite" in message
    assert "inputs[1] has 19 rows, but inputs[0] has 20" in message
    assert "inputs[2] has shape (), which has no dimension 0 for rows" in message
    assert "labels are torch.float32, wanted class numbers" in message
    assert "labels has 18 rows" in message


def test_too_few_rows_and_no_tensor():
    with pytest.raises(DataError, match=r"inputs has 1 rows along dimension 0, wanted at least 2 \(held_out is 0.1\)"):
        TensorData(torch.zeros(1, 3))
    with pytest.raises(DataError, match="inputs holds no tensor"):
        TensorData(())
    assert TensorData(torch.zeros(1, 3), held_out=0.0).n_train == 1


def test_settings_out_of_range_are_said_at_once():
    with pytest.raises(ConfigError, match=r"(?s)held_out is 1\.0.*row_dim is 2.*positions_per_row is -1"):
        TensorData(torch.zeros(4, 3), held_out=1.0, row_dim=2, positions_per_row=-1)
