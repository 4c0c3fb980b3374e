"""Which positions of a value belong to which row of data."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from pellucid.core.errors import SiteError
from pellucid.hosts import Host
from pellucid.hosts.layout import Layout, find_layout
from pellucid.hosts.replay import same_bits
from pellucid.hosts.template import find_template


@pytest.mark.parametrize("dim", [0, 1, 2])
@pytest.mark.parametrize("masked", [True, False])
def test_rows_sorted_by_data_and_back_are_the_rows(dim, masked):
    layout = find_layout(*((*(4, 5)[:dim], n, *(4, 5)[dim:]) for n in (1, 2)), "site 'x'")
    assert layout == Layout(dim, (4, 5))
    value = torch.arange(3 * 20).reshape(3, 4, 5).movedim(0, dim)  # the number says which row of data it is of
    generator = torch.Generator().manual_seed(0)
    keep = torch.rand(layout.positions(3), generator=generator) > 0.4 if masked else None
    own = value[keep] if keep is not None else value.reshape(-1)
    order = layout.order(keep, 3)
    by_row = own if order is None else torch.empty_like(own).index_copy_(0, order, own)
    assert torch.equal(by_row, by_row.sort().values), "row by row, each in its own order"
    assert layout.counts(keep, 3).tolist() == [int(((own >= 20 * n) & (own < 20 * n + 20)).sum()) for n in range(3)]
    assert order is None or torch.equal(by_row[order], own)


@pytest.mark.parametrize(("one", "two"), [((12,), (24,)), ((1, 1), (2, 2)), ((1, 3), (1, 3)), ((1, 3), (2, 4)), ((1,), (2, 1))])
def test_values_whose_rows_cannot_be_told_apart_are_refused(one, two):
    with pytest.raises(SiteError, match=r"site 'x' has positions .* rows of data cannot be told apart.*Leave the store out"):
        find_layout(one, two, "site 'x'")


def test_a_prefix_from_its_tensors_is_the_prefix_of_a_run(any_host):
    host, inputs, site = any_host
    axis = 1 if host.name == "gru" else 0

    def rows(n):
        cut = lambda tensor: tensor.narrow(axis, 0, n)  # noqa: E731
        return {key: cut(value) for key, value in inputs.items()} if isinstance(inputs, dict) else cut(inputs)

    host.prepare(rows(1), [site])
    if not host.resumable(site):
        pytest.skip("runs of this host start at the beginning")
    template = find_template(host, site, rows(1), rows(2))
    n = (inputs["input_ids"] if isinstance(inputs, dict) else inputs).shape[axis]
    with torch.no_grad():
        whole = host.run(inputs, prefixes=[site])
        kept = template.tensors(whole.prefixes[site])
        made = template.prefix({name: tensor.clone() for name, tensor in kept.items()}, n)
        assert same_bits(host.run(inputs, resume=made).output, whole.output)


def test_a_prefix_that_needs_integers_of_the_data_is_refused():
    class Buckets(nn.Module):
        def forward(self, x):
            return (x[:, :1] > 0).long()

    class Two(nn.Module):
        def __init__(self):
            super().__init__()
            self.buckets, self.first, self.table = Buckets(), nn.Linear(3, 4), nn.Embedding(2, 4)

        def forward(self, x):
            bucket = self.buckets(x)
            return self.first(x) + self.table(bucket).squeeze(1)

    host = Host(Two())
    site = host.site("first")
    rows = torch.tensor([[1.0, 0, 0], [-1, 0, 0]])
    host.prepare(rows[:1], [site])
    with pytest.raises(SiteError, match=r"the output of buckets#0 is torch\.int64 and depends on the data"):
        find_template(host, site, rows[:1], rows)
