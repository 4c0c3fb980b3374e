"""From a recurrent network to a verified Python program."""

from __future__ import annotations

import time
from dataclasses import replace

import numpy as np
import torch
from jaxtyping import Int

from pellucid.core.errors import DataError
from pellucid.programs.config import DistillConfig
from pellucid.programs.distilled import Distilled
from pellucid.programs.documentation import document
from pellucid.programs.emission.names import named
from pellucid.programs.emission.python import program_source
from pellucid.programs.language.machine import Machine
from pellucid.programs.networks.base import StepNetwork
from pellucid.programs.oracle import Oracle, to_integers
from pellucid.programs.proof.equivalence import compare, measure_bounds
from pellucid.programs.proof.sandbox import ProgramError
from pellucid.programs.proof.sequences import trials
from pellucid.programs.proof.verdict import AGREEMENT, Verdict, prove
from pellucid.programs.reference import Reference, reference_of
from pellucid.programs.roads.context import Context
from pellucid.programs.search import Candidate, Search
from pellucid.programs.states.automaton import Automaton
from pellucid.programs.states.search import Extracted, TooManyStates
from pellucid.programs.tasks.base import InputDomain, Task
from pellucid.programs.tasks.examples import Examples

MOST_PROVEN = 3
"""Candidates that go through the whole proof, best first."""


def distill(
    network: StepNetwork, domain: InputDomain, task: Task | Examples | None = None, config: DistillConfig | None = None
) -> Distilled:
    """Return the shortest verified program that does what a network does on integer inputs.

    The network is asked about random sequences of the training length (`domain.length`). Several roads propose machines: an
    affine system with exact rationals, windows of inputs, the last output as the state, a finite automaton whose table
    becomes formulas, running folds. Those that agree with the network (0.995 of the outputs at the training length, rounded)
    are ranked: exact on the task, then formulas before tables, then by description length. The best is emitted and proven in
    a separate process. With `task` (a rule, or rows of data), sequences on which the network contradicts it teach nothing, and
    are counted.

    A network that does not do the task, or that no small machine follows, gives `solved` False with a `reason`.

    Raises DataError if network, domain and task differ in width; NumericsError if the network gives numbers that are not
    finite, or its state explodes, within the training length.
    """
    config = config or DistillConfig()
    started = time.monotonic()
    _check(network, domain, task)
    oracle, reference = Oracle(network, domain), reference_of(task, domain)
    xs, raw, reason = _ask(oracle, reference, config)
    if reason:
        return Distilled(reason=reason, seconds_distilling=time.monotonic() - started)
    context = Context(oracle, xs, raw, config.max_states)
    search = Search(context, reference, config)
    found = _prove_best(search.run(), oracle, reference, _automaton(context))
    found = found or Distilled(reason=search.reason())
    return replace(found, seconds_distilling=time.monotonic() - started)


def _check(network: StepNetwork, domain: InputDomain, task: Task | Examples | None) -> None:
    if network.n_in != domain.width:
        raise DataError(f"the network reads {network.n_in} numbers a step, the domain has {domain.width}; give one that fits")
    if task is not None and network.n_out != task.out_width:
        raise DataError(
            f"the network gives {network.n_out} numbers a step, the task {task.out_width}; give a network of this task"
        )


def _ask(oracle: Oracle, reference: Reference, config: DistillConfig) -> tuple[Int[np.ndarray, "n t i"], np.ndarray, str]:
    """Return inputs and outputs to learn from, and what speaks against going on."""
    domain, generator = oracle.domain, torch.Generator().manual_seed(config.seed)
    sampled = reference.sample(config.sequences, domain.length, generator)
    xs, truth = sampled.numpy(), reference.batch(sampled)
    raw = oracle.outputs(xs)
    if truth is None:
        return xs, raw, ""
    wrong = (to_integers(raw) != truth.numpy()).any(2)
    share = float(wrong.mean())
    if share > config.max_network_errors:
        step = int(wrong.mean(0).argmax())
        reason = (
            f"the network does not do the task: {share:.1%} of its outputs are wrong, wanted at most "
            f"{config.max_network_errors:.0%}; most at step {step + 1}, {float(wrong[:, step].mean()):.1%}. Train it further"
        )
        return xs, raw, reason
    right = ~wrong.any(1)
    return (
        xs[right],
        raw[right],
        "" if right.mean() >= 0.1 else "the network errs somewhere in almost every sequence; train it further",
    )


def _automaton(context: Context) -> Automaton | None:
    """Return the automaton if a road has looked for it and found it."""
    found = context.__dict__.get("extraction")
    return found.automaton if isinstance(found, Extracted) else None


def _prove_best(
    candidates: list[Candidate], oracle: Oracle, reference: Reference, automaton: Automaton | None
) -> Distilled | None:
    best: Distilled | None = None
    for candidate in candidates[:MOST_PROVEN]:
        distilled = _proven(candidate.machine, oracle, reference, automaton)
        if distilled.solved and distilled.verdict is not None and distilled.verdict.exact_at_any_length is not False:
            return distilled
        if best is None or (distilled.solved and not best.solved):
            best = distilled
    return best


def _proven(machine: Machine, oracle: Oracle, reference: Reference, automaton: Automaton | None) -> Distilled:
    machine = named(machine)
    sequences = trials(oracle.domain, reference)
    try:
        verdict = prove(machine, program_source(machine, []), oracle, reference, sequences)
    except ProgramError as error:
        return Distilled(machine=machine, method=machine.method, reason=f"the emitted program failed: {error}")
    if automaton is not None:
        bounds = measure_bounds(oracle, automaton, sequences.training[:2000])
        verdict = replace(verdict, equivalence=compare(machine, automaton), bounds=bounds)
    source = program_source(machine, document(machine, oracle.domain, verdict, automaton))
    return Distilled(
        solved=verdict.solved, source=source, machine=machine, automaton=automaton, verdict=verdict,
        method=machine.method, reason=_why_not(verdict),
    )  # fmt: skip


def _why_not(verdict: Verdict) -> str:
    if not verdict.follows:
        return (
            f"the best program agrees with the network on {verdict.network_agreement:.2%} of the outputs at the training "
            f"length; wanted {AGREEMENT:.1%}"
        )
    if verdict.exact_at_training_length is False:
        return f"the best program that follows the network errs against the task: {verdict.program_errors}"
    return "" if verdict.solved else "the only program found is a table of more than 512 entries: memorised"


__all__ = ["DistillConfig", "Distilled", "TooManyStates", "distill"]
