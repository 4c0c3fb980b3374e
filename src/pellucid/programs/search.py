"""The search over all roads: machines that follow the network, best first."""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np
import torch

from pellucid.core.errors import NumericsError
from pellucid.programs.config import DistillConfig
from pellucid.programs.language.machine import Machine
from pellucid.programs.oracle import to_integers
from pellucid.programs.proof.verdict import AGREEMENT, agrees, form_of
from pellucid.programs.reference import Reference
from pellucid.programs.roads.context import Context
from pellucid.programs.roads.registry import ROADS
from pellucid.programs.states.search import TooManyStates

ENOUGH = {"formula": 100.0, "table": 420.0}
"""Bits up to which a machine of this form that is exact ends the search: nothing shorter is worth more time."""
LONGER = 4
"""Candidates are also run on sequences this many times as long, against the task."""
FORMS = ("formula", "table", "memorised")


@dataclass(frozen=True)
class Candidate:
    """A machine that follows the network on sequences it was not made from."""

    machine: Machine
    road: str
    agreement: float
    exact: bool
    exact_longer: bool

    @property
    def rank(self) -> tuple[bool, bool, int, float]:
        """Order of preference: exact on the task, exact beyond the training length, form, description length."""
        return not self.exact, not self.exact_longer, FORMS.index(form_of(self.machine)), self.machine.bits


class Search:
    """Walks the roads within the time that the config gives."""

    def __init__(self, context: Context, reference: Reference, config: DistillConfig) -> None:
        self.context, self.config = context, config
        self.candidates: list[Candidate] = []
        self.tried = 0
        self.best_agreement = 0.0
        self.problems: list[str] = []
        generator = torch.Generator().manual_seed(config.seed + 1)
        domain = context.oracle.domain
        self.xs, self.truth = self._draw(reference, 2000, domain.length, generator)
        self.raw = context.oracle.outputs(self.xs)
        self.long, self.long_truth = self._draw(reference, 100, LONGER * domain.length, generator)

    @staticmethod
    def _draw(reference: Reference, n: int, length: int, generator: torch.Generator) -> tuple[np.ndarray, np.ndarray | None]:
        xs = reference.sample(n, length, generator)
        ys = reference.batch(xs)
        return xs.numpy(), None if ys is None else ys.numpy()

    def run(self) -> list[Candidate]:
        """Return the candidates, best first. The search ends early once one is exact and short enough."""
        end = time.process_time() + self.config.seconds
        for name, road in ROADS.items():
            self.context.deadline = min(end, time.process_time() + self.config.seconds / 3)
            try:
                for machine in road(self.context):
                    self._consider(machine, name)
            except NumericsError as error:  # the state leaves the range beyond words it was trained on
                self.problems.append(f"{name}: {error}")
            if self.candidates and self._enough(name):
                break
        return sorted(self.candidates, key=lambda candidate: candidate.rank)

    def _enough(self, road: str) -> bool:
        best = min(self.candidates, key=lambda candidate: candidate.rank)
        form = form_of(best.machine)
        if not (best.exact and best.exact_longer) or form == "memorised":
            return False
        after_automaton = list(ROADS).index(road) >= list(ROADS).index("automaton")
        if form == "table" and not after_automaton:
            return False
        return best.road == "affine" or best.machine.bits <= ENOUGH[form]

    def _consider(self, machine: Machine, road: str) -> None:
        self.tried += 1
        outputs = machine.run(self.xs)
        agreement = float(agrees(outputs.astype(float), self.raw).mean())
        self.best_agreement = max(self.best_agreement, agreement)
        if agreement < AGREEMENT:
            return
        exact = self.truth is None or bool((outputs == self.truth).all())
        longer = self.long_truth is None or bool((machine.run(self.long) == self.long_truth).all())
        self.candidates.append(Candidate(machine, road, agreement, exact, longer))

    def reason(self) -> str:
        """Return why no machine follows the network."""
        raw = self.raw
        blurred = float((np.abs(raw - to_integers(raw)) > 0.3).mean())
        parts = [f"no short machine follows the network (tried {self.tried})"]
        if self.tried:
            parts[0] = f"of {self.tried} machines none agrees with the network on {AGREEMENT:.1%} of the outputs"
            parts.append(f"the best agrees on {self.best_agreement:.2%}")
        extraction = self.context.__dict__.get("extraction")
        if isinstance(extraction, TooManyStates):
            parts.append(str(extraction))
        if blurred > 0.02:
            parts.append(f"{blurred:.1%} of the network's outputs are further than 0.3 from an integer")
        return "; ".join([*parts, *self.problems])
