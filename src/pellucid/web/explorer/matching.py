"""Which feature of one dictionary is which of another: by the cosine of their atoms."""

from __future__ import annotations

import threading
from concurrent.futures import Executor, Future
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Float32, Int32
from torch import Tensor

from pellucid.core.errors import PellucidError, RunError
from pellucid.dictionaries import load_dictionary

CHUNK = 1 << 24
"""Cosines held at once: 64 MB."""
PATIENCE = 0.15
"""Seconds a page waits for a matching; after that it shows how far it is."""


@dataclass(frozen=True)
class Nearest:
    """For each latent of one dictionary the latent of the other whose atom has the greatest cosine with its own."""

    latents: Int32[np.ndarray, " m"]
    cosines: Float32[np.ndarray, " m"]


@torch.no_grad()
def nearest(a: Float[Tensor, "m d"], b: Float[Tensor, "n d"], progress: list[float] | None = None) -> tuple[Nearest, Nearest]:
    """Return the nearest in b for each row of a, and the nearest in a for each row of b, by cosine.

    Of equal ones the first; a row of zeros has cosine 0 with all. `progress[0]` goes from 0 to 1. Memory: the atoms once
    more, and 64 MB.
    """
    a, b = (torch.nn.functional.normalize(atoms.float(), dim=1) for atoms in (a, b))
    best_a = torch.zeros(len(a)), torch.zeros(len(a), dtype=torch.int64)
    best_b = torch.full((len(b),), -2.0), torch.zeros(len(b), dtype=torch.int64)
    rows = max(1, CHUNK // len(b))
    for start in range(0, len(a), rows):
        cosines = a[start : start + rows] @ b.T
        for part, found in zip(best_a, cosines.max(dim=1), strict=True):
            part[start : start + rows] = found
        values, places = cosines.max(dim=0)
        better = values > best_b[0]
        best_b[0][better], best_b[1][better] = values[better], places[better] + start
        if progress is not None:
            progress[0] = min(1.0, (start + rows) / len(a))
    return _numpy(*best_a), _numpy(*best_b)


def _numpy(cosines: Tensor, latents: Tensor) -> Nearest:
    return Nearest(latents.to(torch.int32).numpy(), cosines.numpy())


class Matchings:
    """Matchings of pairs of dictionaries of a run, each computed once, in the background where that takes long."""

    def __init__(self, run: Path, pool: Executor) -> None:
        self._run, self._pool = run, pool
        self._lock = threading.Lock()
        self._atoms: dict[str, Tensor] = {}
        self._found: dict[tuple[str, str], Future[tuple[Nearest, Nearest]]] = {}
        self._progress: dict[tuple[str, str], list[float]] = {}

    def get(self, a: str, b: str, *, wait: bool = False) -> tuple[Nearest, Nearest] | float:
        """Return the matching of a with b and of b with a, or the share of the work that is done.

        Raises RunError if a dictionary's weights are not in the run or the two have atoms of different widths.
        """
        first, second = sorted((a, b))
        future = self._start(first, second)
        try:
            there, back = future.result(None if wait else PATIENCE)
        except TimeoutError:
            return self._progress[first, second][0]
        except PellucidError:
            with self._lock:  # said once, then tried again: the run may have been mended
                self._found.pop((first, second), None)
            raise
        return (there, back) if a == first else (back, there)

    def atoms(self, name: str) -> Tensor:
        """Return a dictionary's atoms [m, d]; RunError if they cannot be read."""
        if name not in self._atoms:
            try:
                dictionary, _ = load_dictionary(self._run / "dictionaries" / name)
            except PellucidError as error:
                raise RunError(f"features are matched by their atoms, but those of '{name}' cannot be read: {error}") from None
            self._atoms[name] = dictionary.contributions().detach().float()
        return self._atoms[name]

    def _start(self, a: str, b: str) -> Future[tuple[Nearest, Nearest]]:
        with self._lock:
            if (a, b) not in self._found:
                self._progress[a, b] = [0.0]
                self._found[a, b] = self._pool.submit(self._match, a, b)
            return self._found[a, b]

    def _match(self, a: str, b: str) -> tuple[Nearest, Nearest]:
        widths = [self.atoms(name).shape[1] for name in (a, b)]
        if widths[0] != widths[1]:
            raise RunError(
                f"'{a}' has atoms of width {widths[0]} and '{b}' of width {widths[1]}: there is no cosine between them. "
                f"Compare dictionaries of one site."
            )
        return nearest(self.atoms(a), self.atoms(b), self._progress[a, b])
