"""Prefixes of any rows of data, put together from tensors that were kept.

What a resumed run needs from before its site is, in most hosts, the site's value and some tensors that do not depend on
the data (positions, masks). Which is which is found by running one row and two.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from pellucid.core.errors import SiteError
from pellucid.hosts.host import Host
from pellucid.hosts.layout import Layout, find_layout
from pellucid.hosts.replay import Call, Prefix, placeholder
from pellucid.hosts.site import Site
from pellucid.hosts.trees import leaves, map_tensors

VALUE = "value"


@dataclass(frozen=True)
class Leaf:
    """One tensor of a prefix."""

    name: str
    """Its name among the kept tensors; empty if it is not kept."""
    layout: Layout | None
    """How it depends on rows of data; None if it does not."""
    example: Tensor
    """The tensor for one row of data."""


class PrefixTemplate:
    """Makes a site's prefix from kept tensors."""

    def __init__(self, site: Site, example: Prefix, leaves_of: dict[Call, list[Leaf]], value: Leaf) -> None:
        self.site, self._example, self._leaves, self._value = site, example, leaves_of, value

    @property
    def kept(self) -> dict[str, Leaf]:
        """The tensors that must be kept, by name."""
        named = [leaf for found in self._leaves.values() for leaf in found if leaf.name]
        return {leaf.name: leaf for leaf in [self._value, *named]}

    def tensors(self, prefix: Prefix) -> dict[str, Tensor]:
        """Return the tensors of a prefix that must be kept."""
        assert prefix.value is not None
        found = {VALUE: prefix.value}
        for call, described in self._leaves.items():
            for leaf, (_, tensor) in zip(described, leaves(prefix.outputs[call]), strict=True):
                if leaf.name:
                    found[leaf.name] = tensor
        return found

    def prefix(self, kept: Mapping[str, Tensor], n: int) -> Prefix:
        """Return the prefix of n rows of data."""
        outputs: dict[Call, Any] = {}
        for call, described in self._leaves.items():
            made = iter([_made(leaf, kept, n) for leaf in described])
            outputs[call] = map_tensors(self._example.outputs[call], lambda _, made=made: next(made))  # type: ignore[misc]
        return Prefix(self._example.plan, kept[VALUE], outputs)


def find_template(host: Host, site: Site, one: Any, two: Any) -> PrefixTemplate:
    """Find out, from inputs of one row of data and of two, what of a prefix must be kept.

    Raises SiteError if something the host needs depends on the data in a way that rows cannot be told apart.
    """
    with torch.no_grad():
        first, second = (host.run(inputs, prefixes=[site], stop=True).prefixes[site] for inputs in (one, two))
    assert first.value is not None and second.value is not None
    described: dict[Call, list[Leaf]] = {}
    for call in first.plan.skipped:
        needed = call in first.plan.needed
        pairs = zip(leaves(first.outputs[call]), leaves(second.outputs[call]), strict=True)
        described[call] = list(_described(call, needed, pairs))
    if (dtype := first.value.dtype).itemsize > 4:
        raise SiteError(f"site '{site}' holds {dtype}, which a store of float32 cannot keep exactly. Leave the store out.")
    value = Leaf(VALUE, _layout(first.value, second.value, f"site '{site}'"), first.value)
    return PrefixTemplate(site, first, described, value)


def _described(call: Call, needed: bool, pairs: Any) -> Iterator[Leaf]:
    for (path, a), (_, b) in pairs:
        what = f"{call[0]}#{call[1]}" + "".join(f".{part}" for part in path)
        hole = not needed and a.is_floating_point()
        if a.shape == b.shape and (hole or torch.equal(a, b)):
            yield Leaf("", None, a)
            continue
        layout = _layout(a, b, f"the output of {what}")
        if not hole and not a.is_floating_point():
            raise SiteError(f"the output of {what} is {a.dtype} and depends on the data, so it cannot be stored")
        yield Leaf("" if hole else what, layout, a)


def _layout(one: Tensor, two: Tensor, what: str) -> Layout:
    return find_layout(tuple(one.shape), tuple(two.shape), what)


def _made(leaf: Leaf, kept: Mapping[str, Tensor], n: int) -> Tensor:
    if leaf.name:
        return kept[leaf.name]
    if leaf.layout is None:
        return leaf.example
    return placeholder(leaf.example.new_empty(()).expand(leaf.layout.positions(n)))
