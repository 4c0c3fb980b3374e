"""Training and inference, the two modes of a dictionary."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from pellucid.dictionaries.base import Dictionary


@contextmanager
def inference(dictionaries: Iterable[Dictionary]) -> Iterator[None]:
    """Hold dictionaries in inference mode (`eval()`), in which a row's codes depend on that row alone.

    Each returns to its own mode at the end, also when the body raises.
    """
    before = [(dictionary, dictionary.training) for dictionary in dictionaries]
    try:
        for dictionary, _ in before:
            dictionary.eval()
        yield
    finally:
        for dictionary, training in before:
            dictionary.train(training)
