"""The verdict on a program: what was checked, and what came out."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from pellucid.programs.language.machine import Machine
from pellucid.programs.oracle import Oracle
from pellucid.programs.proof.equivalence import Bounds, Equivalence
from pellucid.programs.proof.sandbox import run_program
from pellucid.programs.proof.sequences import Trials
from pellucid.programs.reference import Reference, as_lists

AGREEMENT = 0.995
"""Share of the outputs at the training length on which a program and the network must agree: it has to follow the network.

Below it there is no program, however well it does the task.
"""
LARGEST_TABLE = 512


@dataclass(frozen=True)
class Verdict:
    """What the proof found. What needs exact outputs is None where they are not known."""

    form: str
    """formula, table (at most 512 entries in all), or memorised."""
    network_agreement: float
    """Share of the outputs of fresh sequences of the training length on which program and network agree."""
    exact_at_training_length: bool | None
    """No error against the task on fresh sequences of the training length and on the corners."""
    exact_at_any_length: bool | None
    """And none at lengths 50 and 200 either."""
    network_errors: int | None
    """Outputs of the fresh sequences of the training length that the network gets wrong."""
    outputs_checked: int
    """Outputs of those sequences."""
    program_errors: dict[str, int] | None
    """Wrong outputs of the program, by kind of sequence."""
    right_where_network_is_wrong: int | None
    """Of the network's errors, those where the program is right."""
    network_agreement_by_length: dict[int, float] = field(default_factory=dict)
    """Agreement beyond the training length, where a network may drift."""
    equivalence: Equivalence | None = None
    """Of program and automaton."""
    bounds: Bounds | None = None
    """Of network and automaton."""

    @property
    def follows(self) -> bool:
        """Say whether the program follows the network."""
        return self.network_agreement >= AGREEMENT

    @property
    def solved(self) -> bool:
        """Say whether this is a verified program: follows the network, exact at the training length, not memorised."""
        return self.follows and self.exact_at_training_length is not False and self.form != "memorised"

    def to_json(self) -> dict[str, Any]:
        """Return plain values."""
        values = {name: value for name, value in vars(self).items() if name not in ("equivalence", "bounds")}
        values["equivalence"] = self.equivalence.to_json() if self.equivalence else None
        values["bounds"] = self.bounds.to_json() if self.bounds else None
        return values


def form_of(machine: Machine) -> str:
    """Return formula, table or memorised."""
    if not machine.tables:
        return "formula"
    return "table" if machine.n_entries <= LARGEST_TABLE else "memorised"


def prove(machine: Machine, source: str, oracle: Oracle, reference: Reference, sequences: Trials) -> Verdict:
    """Run the emitted code in a separate process on all sequences and compare it with network and task.

    Raises ProgramError if the code does not run to its end.
    """
    kinds = {"training": sequences.training, "medium": sequences.medium, "long": sequences.long, "corners": sequences.corners}
    outputs = _outputs(source, kinds)
    found = {name: np.array(_flat(outputs[name]), dtype=float) for name in ("training", "medium", "long")}
    agreement = {name: float(agrees(ys, oracle.outputs(kinds[name])).mean()) for name, ys in found.items()}
    wanted = {name: reference.exact(torch.from_numpy(xs)) for name, xs in kinds.items()}
    errors = {name: _different(outputs[name], ys) for name, ys in wanted.items() if ys is not None}
    network_wrong, right = _network_errors(oracle, kinds["training"], outputs["training"], wanted["training"])
    return Verdict(
        form=form_of(machine),
        network_agreement=agreement["training"],
        exact_at_training_length=not (errors["training"] or errors.get("corners", 0)) if "training" in errors else None,
        exact_at_any_length=not any(errors.values()) if len(errors) == len(kinds) else None,
        network_errors=network_wrong,
        outputs_checked=int(np.prod(kinds["training"].shape[:2])),
        program_errors=errors or None,
        right_where_network_is_wrong=right,
        network_agreement_by_length={kinds[name].shape[1]: agreement[name] for name in ("medium", "long")},
    )


def _network_errors(
    oracle: Oracle, xs: np.ndarray, program: list[list[Any]], wanted: list[list[Any]] | None
) -> tuple[int | None, int | None]:
    """Return how many outputs the network gets wrong, and at how many of these the program is right."""
    if wanted is None:
        return None, None
    exact = np.array(_flat(wanted))
    wrong = (oracle.rounded(xs) != exact).any(-1)
    return int(wrong.sum()), int((wrong & (np.array(_flat(program)) == exact).all(-1)).sum())


def agrees(program: np.ndarray, network: np.ndarray) -> np.ndarray:
    """Return [n, t] whether all outputs of a step agree.

    A whole output of the program must be the network's rounded to the nearest integer; one that is not whole (a program with
    fractions) may be off by a hundredth of the spread of the network's outputs.
    """
    with np.errstate(invalid="ignore"):
        if np.array_equal(program, np.rint(program)):
            return (np.abs(program - network) <= 0.5).all(-1)
        spread = float(np.nanstd(network))
        return (np.abs(program - network) <= 0.01 * spread).all(-1)


def _outputs(source: str, kinds: dict[str, np.ndarray]) -> dict[str, list[list[Any]]]:
    together = [sequence for xs in kinds.values() for sequence in as_lists(torch.from_numpy(xs))]
    outputs = run_program(source, together)
    result, at = {}, 0
    for name, xs in kinds.items():
        result[name] = outputs[at : at + len(xs)]
        at += len(xs)
    return result


def _flat(outputs: list[list[Any]]) -> list[list[list[Any]]]:
    """Return outputs [n][t][o], a single number as a list of one."""
    return [[list(y) if isinstance(y, tuple) else [y] for y in ys] for ys in outputs]


def _different(found: list[list[Any]], wanted: list[list[Any]]) -> int:
    return sum(
        sum(a != b for a, b in zip(ys, zs, strict=False)) + abs(len(ys) - len(zs)) for ys, zs in zip(found, wanted, strict=True)
    )
