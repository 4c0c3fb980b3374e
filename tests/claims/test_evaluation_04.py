"""Iterative feature merging on networks whose redundancy is planted."""

from __future__ import annotations

import torch
from torch import nn

from pellucid.geometry import complexity, merge_features


def outputs(incoming: torch.Tensor, outgoing: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
    return (x @ incoming.T).relu() @ outgoing.T


def rows(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def test_evaluation_4_1_equal_incoming_rows_merge_exactly_whatever_goes_out():
    incoming = rows(6, 5)[[0, 1, 2, 3, 4, 5, 0, 0, 3]]
    outgoing, x = rows(4, 9, seed=1) * 1e-3, rows(200, 5, seed=2)
    same = torch.tensor([0, 0, 0, 3, 3])  # channels with equal rows lie within 1e-4 of each other, others do not
    found = merge_features(incoming, outgoing, beta=1e-4)
    assert found.n_channels == 6 and len(same.unique()) == 2
    assert float((outputs(found.incoming, found.outgoing, x) - outputs(incoming, outgoing, x)).abs().max()) < 1e-14
    general = merge_features(incoming, rows(4, 9, seed=3), beta=0.6)
    assert general.n_channels < 9
    assert float((outputs(general.incoming, general.outgoing, x) - outputs(incoming, rows(4, 9, seed=3), x)).abs().max()) > 0.1


def test_evaluation_4_2_duplicated_channels_are_removed_and_nothing_else():
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(2, 24), nn.ReLU(), nn.Linear(24, 3)).double()
    x = rows(600, 2, seed=1)
    labels = (x[:, 0] > 0).long() + (x[:, 1] > 0.3).long()
    optimizer = torch.optim.Adam(net.parameters(), lr=2e-2)
    for _ in range(150):
        optimizer.zero_grad()
        nn.functional.cross_entropy(net(x), labels).backward()
        optimizer.step()
    incoming = torch.cat([net[0].weight, net[0].bias.unsqueeze(1)], dim=1).detach()
    outgoing, inputs = net[2].weight.detach(), torch.cat([x, torch.ones(600, 1, dtype=torch.float64)], dim=1)
    twice = torch.tensor([*range(24), 3, 3, 7, 11])  # channel 3 is there three times, 7 and 11 twice: each has its share
    share = torch.ones(24, dtype=torch.float64).index_add_(0, twice[24:], torch.ones(4, dtype=torch.float64))
    wide_in, wide_out = incoming[twice], (outgoing / share)[:, twice]
    found = merge_features(wide_in, wide_out, beta=1e-12)
    assert found.n_channels == 24
    assert [len({int(twice[i]) for i in (found.groups == g).nonzero()}) for g in range(24)] == [1] * 24
    before = outputs(wide_in, wide_out, inputs) + net[2].bias.detach()
    after = outputs(found.incoming, found.outgoing, inputs) + net[2].bias.detach()
    assert float((before.argmax(1) == labels).double().mean()) > 0.9
    assert torch.equal(before.argmax(1), after.argmax(1)) and float((before - after).abs().max()) < 1e-12


def test_evaluation_4_3_more_is_merged_at_larger_beta_and_only_duplicates_at_zero():
    incoming, outgoing = rows(40, 8)[[*range(40), 5, 9]], rows(6, 40, seed=1)[:, [*range(40), 5, 9]]
    counts = [complexity(incoming, outgoing, beta) for beta in (0.0, 0.05, 0.1, 0.2, 0.3, 0.5, 0.8, 1.0)]
    assert counts[0] == 40 and counts == sorted(counts, reverse=True) and counts[-1] == 1
