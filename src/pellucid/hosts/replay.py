"""Starting a forward at a site: what ran before it is not run again.

A resumed run calls the host's own forward. Modules that had finished before the site return what they returned in
the original run if the rest of the host needs it, and a placeholder of the right shape otherwise. Which is which is
found once per site by experiment: placeholders hold NaN, so a value that is needed after all shows in the output.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from pellucid.hosts.hooks import standing_in
from pellucid.hosts.site import Site
from pellucid.hosts.trees import first_float, leaves, map_tensors, put

Call = tuple[str, int]


@dataclass(frozen=True)
class Plan:
    """Which calls a resumed run skips, and which of those must give their real value."""

    site: Site
    skipped: tuple[Call, ...]
    needed: frozenset[Call]


@dataclass
class Prefix:
    """What a resumed run starts from: the site's value and the outputs of skipped calls."""

    plan: Plan
    value: Tensor | None = None
    """The site's value in the host's own layout."""
    outputs: dict[Call, Any] = field(default_factory=dict)


class _Trace:
    """Hooks that write down which calls begin and end."""

    def __init__(self) -> None:
        self.events: list[tuple[str, str, int]] = []
        self.calls: Counter[str] = Counter()
        self.open: dict[str, list[int]] = defaultdict(list)

    def entered(self, path: str, *_: Any) -> None:
        number = self.calls[path]
        self.open[path].append(number)
        self.events.append(("enter", path, number))
        self.calls[path] += 1

    def left(self, path: str, *_: Any) -> None:
        self.events.append(("exit", path, self.open[path].pop()))


def trace(module: nn.Module) -> tuple[list[tuple[str, str, int]], ExitStack]:
    """Record ('enter' | 'exit', path, call number) of every module while the returned stack is open."""
    found, stack = _Trace(), ExitStack()
    for path, child in module.named_modules():
        stack.callback(child.register_forward_pre_hook(partial(found.entered, path)).remove)
        stack.callback(child.register_forward_hook(partial(found.left, path)).remove)
    return found.events, stack


def skippable(events: Sequence[tuple[str, str, int]], site: Site) -> tuple[Call, ...]:
    """Return the outermost calls that finished before the site's value exists, in order."""
    end = ("exit" if site.side == "output" else "enter", site.path, 0)
    before = events[: events.index(end) + (site.side == "output")]
    entered: list[Call] = []
    finished: list[Call] = []
    for kind, path, number in before:
        if kind == "enter":
            entered.append((path, number))
        else:
            start = entered.index((path, number))
            inner = set(entered[start:])
            finished = [call for call in finished if call not in inner] + [(path, number)]
    return tuple(finished)


class _Recorder:
    """Hooks that fill the prefixes' outputs."""

    def __init__(self, prefixes: Sequence[Prefix]) -> None:
        self.wanted: dict[str, list[Prefix]] = defaultdict(list)
        for prefix in prefixes:
            for path in {path for path, _ in prefix.plan.skipped}:
                self.wanted[path].append(prefix)
        self.calls: Counter[str] = Counter()

    def record(self, path: str, _: nn.Module, __: Any, output: Any) -> None:
        call = (path, self.calls[path])
        self.calls[path] += 1
        for prefix in self.wanted[path]:
            if call in prefix.plan.skipped:
                keep = call in prefix.plan.needed
                prefix.outputs[call] = map_tensors(output, torch.clone if keep else placeholder)


@contextmanager
def recording(module: nn.Module, prefixes: Sequence[Prefix]) -> Iterator[None]:
    """Fill the prefixes' outputs during an original run."""
    recorder = _Recorder(prefixes)
    with ExitStack() as stack:
        for path in recorder.wanted:
            stack.callback(module.get_submodule(path).register_forward_hook(partial(recorder.record, path)).remove)
        yield


@contextmanager
def replaying(module: nn.Module, prefix: Prefix) -> Iterator[None]:
    """Skip the prefix's calls: each returns what was recorded, the site's own call returns the prefix's value."""
    limits = Counter(path for path, _ in prefix.plan.skipped)
    with ExitStack() as stack:
        for path, limit in limits.items():
            child = module.get_submodule(path)
            stack.enter_context(standing_in(child, _StandIn(child, path, limit, prefix)))
        yield


class _StandIn:
    """A module's forward that returns what was recorded for its first calls."""

    def __init__(self, child: nn.Module, path: str, limit: int, prefix: Prefix) -> None:
        self.real, self.path, self.limit, self.prefix = child.forward, path, limit, prefix
        self.calls = 0

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        call, self.calls = (self.path, self.calls), self.calls + 1
        if call[1] >= self.limit:
            return self.real(*args, **kwargs)
        prefix, site = self.prefix, self.prefix.plan.site
        # A module after the site may write into what it is given, and the prefix serves many runs.
        output = prefix.outputs[call]
        if call in prefix.plan.needed:
            output = map_tensors(output, torch.clone)
        if site.side == "output" and call == (site.path, 0) and prefix.value is not None:
            where = first_float(output, site.index)
            assert where is not None
            return put(output, where, prefix.value.clone())
        return output


def hide(outputs: dict[Call, Any], hidden: Collection[Call]) -> dict[Call, Any]:
    """Return the outputs with placeholders for the hidden calls."""
    return {call: map_tensors(value, placeholder) if call in hidden else value for call, value in outputs.items()}


def needed_calls(site: Site, skipped: Sequence[Call], exact: Callable[[Collection[Call]], bool]) -> frozenset[Call]:
    """Return the skipped calls whose real output matters; `exact` tells if hiding calls gives the same bits."""
    own = {(site.path, 0)} if site.side == "output" else set()
    candidates = [call for call in skipped if call not in own]
    needed = _by_halves(candidates, exact)
    # Two calls may stand in for each other: each alone can be hidden, but not both.
    return needed if exact([call for call in candidates if call not in needed]) else frozenset(candidates)


def _by_halves(calls: Sequence[Call], exact: Callable[[Collection[Call]], bool]) -> frozenset[Call]:
    if not calls or exact(calls):
        return frozenset()
    if len(calls) == 1:
        return frozenset(calls)
    middle = len(calls) // 2
    return _by_halves(calls[:middle], exact) | _by_halves(calls[middle:], exact)


def placeholder(tensor: Tensor) -> Tensor:
    """Return a tensor of the same shape that takes no memory: NaN, or the tensor itself if it is not floating."""
    if not torch.is_floating_point(tensor):
        return tensor.clone()
    return torch.full((), float("nan"), dtype=tensor.dtype, device=tensor.device).expand(tensor.shape)


def same_bits(a: Any, b: Any) -> bool:
    """True if two outputs hold the same tensors, bit for bit."""
    left, right = list(leaves(a)), list(leaves(b))
    return len(left) == len(right) and all(p == q and torch.equal(x, y) for (p, x), (q, y) in zip(left, right, strict=True))
