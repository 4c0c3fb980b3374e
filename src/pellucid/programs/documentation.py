"""What a program's docstring says: what was recovered, what its constants are, how it was checked."""

from __future__ import annotations

from fractions import Fraction

from pellucid.programs.language.expression import Constant, parts
from pellucid.programs.language.machine import Machine
from pellucid.programs.proof.verdict import Verdict
from pellucid.programs.states.automaton import Automaton
from pellucid.programs.tasks.base import InputDomain


def document(machine: Machine, domain: InputDomain, verdict: Verdict, automaton: Automaton | None) -> list[str]:
    """Return the paragraphs of the docstring."""
    many = f"tuples of {domain.width} integers" if domain.width > 1 else "integers"
    outputs = f"tuples of {len(machine.outputs)} numbers" if len(machine.outputs) > 1 else "numbers"
    paragraphs = [
        "Recovered from a recurrent network.",
        f"Input: a list of {many}, {domain.low}..{domain.high}. Output: a list of {outputs}, one for each input.",
        f"Found as: {machine.method}. {_kind(machine, verdict)}",
    ]
    constants = _constants(machine, domain, automaton)
    if constants:
        paragraphs.append(f"Constants: {'; '.join(constants)}.")
    paragraphs += _checks(verdict, domain)
    return paragraphs


def _kind(machine: Machine, verdict: Verdict) -> str:
    return "No table in it." if verdict.form == "formula" else f"It looks up a table of {machine.n_entries} entries."


def _constants(machine: Machine, domain: InputDomain, automaton: Automaton | None) -> list[str]:
    known = {domain.low: "the smallest input", domain.high: "the largest input"}
    known[domain.high - domain.low + 1] = "how many values an input has"
    if automaton is not None and automaton.complete:
        known.setdefault(automaton.n_states, "how many states the automaton has")
    expressions = [*(state.update for state in machine.states), *machine.outputs]
    values: set[int | Fraction] = {
        part.value for expression in expressions for part in parts(expression) if isinstance(part, Constant)
    }
    chosen = sorted((value for value in values if abs(float(value)) > 2 or isinstance(value, Fraction)), key=float)
    return [
        f"{value} is {known.get(value, 'found from the network') if isinstance(value, int) else 'found from the network'}"
        for value in chosen
    ]


def _checks(verdict: Verdict, domain: InputDomain) -> list[str]:
    n = verdict.outputs_checked // domain.length
    text = f"Checked in a separate process on {n} fresh sequences of length {domain.length}: it agrees with the network on "
    text += f"{verdict.network_agreement:.4%} of the outputs."
    if verdict.program_errors is not None:
        wrong = sum(verdict.program_errors.values())
        known = {"training": "these", "medium": "1000 of length 50", "long": "200 of length 200", "corners": "corner inputs"}
        text += f" Against the exact outputs of {', '.join(known[name] for name in verdict.program_errors)}: {wrong} errors"
        text += f"; the network itself has {verdict.network_errors} at the training length."
    checks = [text]
    if verdict.equivalence is not None and verdict.equivalence.proven:
        checks.append(
            f"Proven equal to the network's automaton on words of any length, by a walk through all "
            f"{verdict.equivalence.pairs} pairs of states."
        )
    if verdict.bounds is not None:
        checks.append(
            f"The network keeps to the automaton: its outputs are at most {verdict.bounds.largest_deviation:.3f} off over "
            f"{verdict.bounds.visits} visits of {verdict.bounds.visited} of {verdict.bounds.pairs} (state, input) pairs."
        )
    return checks
