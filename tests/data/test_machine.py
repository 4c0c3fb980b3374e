from __future__ import annotations

from itertools import pairwise

import pytest
import torch
from torch.testing import assert_close

from pellucid.core.config import build
from pellucid.core.errors import ConfigError, DataError
from pellucid.data import MachineConfig, MachineData

SMALL = MachineConfig(n_states=20, n_edges=3, base=3, length=5)


def test_rows_are_walks_written_in_digits():
    data = MachineData(SMALL)
    batch, states = data.train_batch(2, 100), data.states(data.train_indices(2, 100))
    assert SMALL.digits == 3 and batch.inputs.shape == (100, 20)
    for row, walk, labels in zip(batch.inputs.tolist(), states.tolist(), batch.labels.tolist(), strict=True):
        tokens = []
        for state in walk:
            tokens += [3, state // 9, state // 3 % 3, state % 3]
        assert row == tokens and labels == [*tokens[1:], 3]
        assert all(after in data.edges[before].tolist() for before, after in pairwise(walk))


def test_every_edge_is_taken_about_equally_often():
    data = MachineData(SMALL)
    states = data.states(torch.arange(4000))
    assert all(len(set(edges)) == 3 for edges in data.edges.tolist())
    after = states[:, 1:][states[:, :-1] == 7]
    shares = torch.stack([(after == target).double().mean() for target in data.edges[7]])
    assert_close(shares, torch.full((3,), 1 / 3, dtype=torch.float64), atol=0.06, rtol=0)
    first = torch.zeros(3)
    for target in data.edges[7].tolist():
        first[target // 9] += 1 / 3
    assert_close(data.next_digit()[7], first)


def test_legal_is_what_the_edges_say():
    data = MachineData(SMALL)
    before, after = torch.cartesian_prod(torch.arange(20), torch.arange(-1, 22)).T
    wanted = [int(b) in data.edges[int(a)].tolist() for a, b in zip(before, after, strict=True)]
    assert data.legal(before, after).tolist() == wanted and sum(wanted) == 60


def test_a_row_depends_on_seed_and_index_alone():
    data, picked = MachineData(SMALL), torch.tensor([700, 3, 255, 256, 3])
    whole = data.states(torch.arange(701))
    assert torch.equal(MachineData(SMALL).states(picked), whole[picked])
    assert not torch.equal(data.states(picked, held_out=True), whole[picked])
    other = MachineData(SMALL.model_copy(update={"seed": 1}))
    assert not torch.equal(other.edges, data.edges) and other.digest() != data.digest()
    assert data.describe()["source"] == "machine" and len(data.held_out_rows(picked).inputs) == 5


def test_bad_requests_are_refused():
    with pytest.raises(ConfigError, match="n_edges is 9, but there are n_states = 5 to go to"):
        build(MachineConfig, {"n_states": 5, "n_edges": 9})
    with pytest.raises(DataError, match="row 2000 does not exist; wanted 0 to 1999"):
        MachineData(SMALL).held_out_rows(torch.tensor([2000]))
