"""Tensors inside the nested values that modules take and return."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor

Path = tuple[Any, ...]


def map_tensors(value: Any, function: Callable[[Tensor], Any]) -> Any:
    """Return `value` with `function` applied to every tensor in its tuples, lists and mappings."""
    if isinstance(value, Tensor):
        return function(value)
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return type(value)(*(map_tensors(item, function) for item in value))
    if isinstance(value, (tuple, list)):
        return type(value)(map_tensors(item, function) for item in value)
    if isinstance(value, dict):
        mapped = {key: map_tensors(item, function) for key, item in value.items()}
        return mapped if type(value) is dict else type(value)(**mapped)
    return value


def leaves(value: Any, path: Path = ()) -> Iterator[tuple[Path, Tensor]]:
    """Yield (path, tensor) for every tensor, in order."""
    if isinstance(value, Tensor):
        yield path, value
    elif isinstance(value, (tuple, list)):
        for index, item in enumerate(value):
            yield from leaves(item, (*path, index))
    elif isinstance(value, dict):
        for key, item in value.items():
            yield from leaves(item, (*path, key))


def first_float(value: Any, index: int | None) -> Path | None:
    """Return the path of the tensor a site means: entry `index`, or the first floating tensor if None."""
    for path, tensor in leaves(value):
        if torch.is_floating_point(tensor) and (index is None or path[:1] == (index,)):
            return path
    return None


def fetch(value: Any, path: Path) -> Tensor:
    """Return the tensor at `path`."""
    for key in path:
        value = value[key]
    return value


def put(value: Any, path: Path, tensor: Tensor) -> Any:
    """Return a copy of `value` with `tensor` at `path`; the original is untouched."""
    if not path:
        return tensor
    key, rest = path[0], path[1:]
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return type(value)(*(put(item, rest, tensor) if index == key else item for index, item in enumerate(value)))
    if isinstance(value, (tuple, list)):
        items = list(value)
        items[key] = put(items[key], rest, tensor)
        return type(value)(items)
    changed = {**value, key: put(value[key], rest, tensor)}
    return changed if type(value) is dict else type(value)(**changed)
