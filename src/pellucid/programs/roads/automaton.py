"""Road 2: the network as a finite automaton, its states labelled with integers, its tables turned into formulas."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from pellucid.programs.language.expression import Lookup, Variable
from pellucid.programs.language.machine import Machine, State, input_names, without_unread
from pellucid.programs.regression.fit import Fit, fit
from pellucid.programs.regression.table import Table, collect
from pellucid.programs.roads.context import Context
from pellucid.programs.states.automaton import UNKNOWN, Automaton
from pellucid.programs.states.labels import Labelling, labellings
from pellucid.programs.states.search import MOST_SYMBOLS, TooManyStates

ENOUGH = 90.0
"""A machine of formulas with at most this many bits ends the search through labellings."""
MOST_ENTRIES = 512


def automaton_road(context: Context) -> Iterator[Machine]:
    """Yield machines on the automaton that the network is, and the automaton itself as a table if it is small."""
    if context.oracle.domain.n_symbols > MOST_SYMBOLS or context.late or isinstance(context.extraction, TooManyStates):
        return
    extracted = context.extraction
    tried = list(labellings(extracted))
    for effort in (1, 3):
        for labelling in tried:
            machine = labelled_machine(extracted.automaton, labelling, context.constants, effort)
            if machine is not None:
                yield machine
                if not machine.tables and machine.bits <= ENOUGH:
                    return
            if context.late:
                return
    if extracted.automaton.complete and extracted.automaton.next.size <= MOST_ENTRIES:
        yield table_machine(extracted.automaton)


def labelled_machine(automaton: Automaton, labelling: Labelling, constants: list[int], effort: int) -> Machine | None:
    """Return the machine on these labels; None if a label does not determine what comes next, or nothing short does."""
    inputs = input_names(automaton.symbols.shape[1])
    width = labelling.columns.shape[1]
    names = ("s",) if width == 1 else tuple(f"s{j + 1}" for j in range(width))
    usable = automaton.known == 1
    if labelling.covered is not None:
        usable &= labelling.covered[:, None]
    rows, symbols = np.nonzero(usable & (automaton.next != UNKNOWN))
    if labelling.covered is not None:
        keep = labelling.covered[automaton.next[rows, symbols]]
        rows, symbols = rows[keep], symbols[keep]
    columns = np.concatenate([labelling.columns[rows], automaton.symbols[symbols]], 1)
    after = labelling.columns[automaton.next[rows, symbols]]
    states = []
    for j, name in enumerate(names):
        found = _fit(
            collect((*names, *inputs), columns, after[:, j]), [*constants, automaton.n_states], f"NEXT_{j + 1}", effort
        )
        if found is None:
            return None
        states.append(State(name, int(labelling.columns[0, j]), found.expression, labelling.meaning))
    outputs = _outputs(automaton, labelling, (*names, *inputs), usable, constants, effort)
    if outputs is None:
        return None
    late, fits = outputs
    method = f"automaton of {automaton.n_states} states; labels: {labelling.meaning}"
    return without_unread(Machine(inputs, tuple(states), tuple(f.expression for f in fits), late, method))


def _outputs(
    automaton: Automaton, labelling: Labelling, names: tuple[str, ...], usable: np.ndarray, constants: list[int], effort: int
) -> tuple[bool, list[Fit]] | None:
    """Return the outputs as functions of the old state, or of the new one where that is shorter."""
    options = []
    for late in (False, True):
        rows, symbols = np.nonzero(usable & (automaton.next != UNKNOWN) if late else usable)
        places = automaton.next[rows, symbols] if late else rows
        columns = np.concatenate([labelling.columns[places], automaton.symbols[symbols]], 1)
        fits = []
        for o in range(automaton.output.shape[2]):
            table = collect(names, columns, automaton.output[rows, symbols, o])
            found = _fit(table, [*constants, automaton.n_states], f"OUTPUT_{o + 1}", effort)
            if found is not None:
                fits.append(found)
        if len(fits) == automaton.output.shape[2]:
            options.append((late, fits))
    return min(options, key=lambda option: sum(f.score for f in option[1])) if options else None


def _fit(table: Table, constants: list[int], name: str, effort: int) -> Fit | None:
    return fit(table, constants, name, effort) if table.contradicted == 0 else None


def table_machine(automaton: Automaton) -> Machine:
    """Return the automaton as a table of (state, input) -> (next, output)."""
    inputs = input_names(automaton.symbols.shape[1])
    read = ("s",) if automaton.n_states > 1 else ()
    arguments = tuple(Variable(name) for name in (*read, *inputs))
    keys = [(s, *map(int, symbol))[1 - len(read) :] for s in range(automaton.n_states) for symbol in automaton.symbols]

    def lookup(name: str, values: np.ndarray) -> Lookup:
        return Lookup(name, tuple(zip(keys, map(int, values.ravel()), strict=True)), arguments)

    outputs = tuple(lookup(f"OUTPUT_{o + 1}", automaton.output[:, :, o]) for o in range(automaton.output.shape[2]))
    state = State("s", 0, lookup("NEXT", automaton.next), "state number, in order of discovery")
    states = (state,) if automaton.n_states > 1 else ()
    return without_unread(Machine(inputs, states, outputs, method=f"automaton of {automaton.n_states} states, as a table"))
