"""What a distillation gives, and the files it is kept in."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pellucid.core.files import write_json, write_text
from pellucid.programs.emission.drawing import automaton_svg, automaton_to_dot
from pellucid.programs.language.machine import Machine
from pellucid.programs.proof.verdict import Verdict
from pellucid.programs.states.automaton import Automaton, moore_states, transient


@dataclass(frozen=True)
class Distilled:
    """A program with its verdict, or the reason why there is none."""

    solved: bool = False
    source: str = ""
    """Python text that defines program(xs); empty where no machine was found."""
    machine: Machine | None = None
    automaton: Automaton | None = None
    """The finite automaton that the network is, where one was looked for and found."""
    verdict: Verdict | None = None
    method: str = ""
    reason: str = ""
    """Why not solved; empty if it is."""
    seconds_training: float | None = None
    seconds_distilling: float = 0.0

    def summary(self) -> dict[str, Any]:
        """Return what summary.json holds."""
        verdict = self.verdict.to_json() if self.verdict else {}
        finite = self.automaton is not None and self.automaton.complete
        names = ("form", "exact_at_training_length", "exact_at_any_length", "network_agreement", "network_errors")
        rest = {name: value for name, value in verdict.items() if name not in names}
        return {
            "solved": self.solved,
            **{name: verdict.get(name) for name in names},
            "states": self.automaton.n_states if self.automaton is not None and finite else None,
            "method": self.method or None,
            "seconds_training": self.seconds_training,
            "seconds_distilling": round(self.seconds_distilling, 3),
            "reason": self.reason or None,
            "description_bits": round(self.machine.bits, 1) if self.machine else None,
            "state_variables": [state.name for state in self.machine.states] if self.machine else None,
            "moore_states": moore_states(self.automaton) if self.automaton is not None and finite else None,
            "transient_states": transient(self.automaton) if self.automaton is not None and finite else None,
            "table_entries": self.machine.n_entries if self.machine else None,
            **rest,
        }


def write(distilled: Distilled, folder: Path) -> None:
    """Write summary.json, and program.py where the program is solved, automaton.json, .svg and .dot where there is one.

    A program that is not verified goes to rejected.py, so that nobody takes it for one. Files of an earlier distillation in
    the folder are removed.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("program.py", "rejected.py", "automaton.json", "automaton.svg", "automaton.dot"):
        (folder / name).unlink(missing_ok=True)
    if distilled.source:
        write_text(folder / ("program.py" if distilled.solved else "rejected.py"), distilled.source)
    if distilled.automaton is not None:
        write_json(folder / "automaton.json", distilled.automaton.to_json())
        write_text(folder / "automaton.svg", automaton_svg(distilled.automaton))
        write_text(folder / "automaton.dot", automaton_to_dot(distilled.automaton))
    write_json(folder / "summary.json", distilled.summary())
