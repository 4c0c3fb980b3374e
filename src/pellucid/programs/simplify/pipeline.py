"""All normalisers in order (arXiv 2402.05110), each kept only if it changed nothing it should not."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from jaxtyping import Float
from torch import Tensor

from pellucid.programs.networks.base import run
from pellucid.programs.networks.recurrent import RecurrentNetwork
from pellucid.programs.simplify.basis import change_basis, hidden_states, readable, recurrent_map
from pellucid.programs.simplify.biases import debiased, quantised, share_whole
from pellucid.programs.simplify.jordan import jordan_basis
from pellucid.programs.simplify.toeplitz import toeplitz_basis
from pellucid.programs.simplify.whitening import whitening

LARGEST_ERROR = 0.25
"""Largest change of an output for a step to be kept: outputs near integers still round to them."""


@dataclass(frozen=True)
class Step:
    """One normaliser."""

    name: str
    kept: bool
    error: float
    """Largest |change of an output| over the sequences, against the network before all steps."""


@dataclass(frozen=True)
class Simplified:
    """A network in simpler coordinates."""

    network: RecurrentNetwork
    steps: tuple[Step, ...]

    def to_json(self) -> dict[str, Any]:
        """Return the steps, their errors, and the share of weights that are integers."""
        errors = {step.name: step.error if step.kept else None for step in self.steps}
        return {"errors": errors, "share_of_integer_weights": share_whole(self.network)}


Normaliser = Callable[[RecurrentNetwork, Tensor], RecurrentNetwork | None]


def _whitened(network: RecurrentNetwork, xs: Tensor) -> RecurrentNetwork:
    return change_basis(network, whitening(hidden_states(network, xs)))


def _jordan(network: RecurrentNetwork, xs: Tensor) -> RecurrentNetwork | None:
    s = jordan_basis(recurrent_map(network)[:, : network.n_state])
    return change_basis(network, s) if s is not None else None


def _toeplitz(network: RecurrentNetwork, xs: Tensor) -> RecurrentNetwork | None:
    w, n = recurrent_map(network), network.n_state
    s = toeplitz_basis(w[:, :n], w[:, n:])
    return change_basis(network, s) if s is not None else None


NORMALISERS: dict[str, Normaliser] = {
    "whitening": _whitened,
    "jordan": _jordan,
    "toeplitz": _toeplitz,
    "debias": lambda network, xs: debiased(network),
    "quantise": lambda network, xs: quantised(network),
}
"""Name -> normaliser, in the order they are applied."""


def simplify(network: RecurrentNetwork, xs: Float[Tensor, "n t i"]) -> Simplified:
    """Return the network in simpler coordinates, with the error of each step measured on sequences.

    A step is dropped if its weights are not finite or exceed 1e4, or if an output moves by more than a quarter.
    """
    wanted, steps = run(network, xs), []
    for name, normaliser in NORMALISERS.items():
        changed = normaliser(network, xs)
        error = float((run(changed, xs) - wanted).abs().max()) if changed is not None and readable(changed) else float("inf")
        kept = error <= LARGEST_ERROR
        steps.append(Step(name, kept, error))
        if kept and changed is not None:
            network = changed
    return Simplified(network, tuple(steps))
