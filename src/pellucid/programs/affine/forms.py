"""One affine system in several coordinates, and each as a machine; the shortest reads best."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from functools import partial

import numpy as np

from pellucid.programs.affine.exact import combination, inverse, matrix, near_combination
from pellucid.programs.affine.response import LARGEST_DENOMINATOR, Response, rounded
from pellucid.programs.affine.system import AffineSystem, Solver, _dot, realise, with_rest
from pellucid.programs.language.expression import Variable, linear
from pellucid.programs.language.machine import Machine, State, input_names


def machines_of(response: Response) -> list[Machine]:
    """Return machines with this response, shortest description first; none if it is of no small rational system."""
    exact = rounded(response)
    forms = list(_systems(exact, combination)) if exact is not None else []
    if not forms:
        tolerance = max(10 * response.residual, 1e-6)
        solver = partial(near_combination, tolerance=tolerance, largest=LARGEST_DENOMINATOR)
        forms = list(_systems(_near(response), solver))
    return sorted((to_machine(form) for form in forms), key=lambda machine: machine.bits)


def _near(response: Response) -> Response:
    """Return the response in floats held as Fractions, for the solver that allows an error."""
    to_fractions = np.vectorize(lambda value: Fraction(float(value)).limit_denominator(10**6), otypes=[object])
    return Response(to_fractions(response.impulse), to_fractions(response.rest), response.residual)


def _systems(response: Response, solver: Solver) -> Iterator[AffineSystem]:
    """Yield realisations: of the impulse response alone, then together with the response to zero or its differences."""
    later, rest = response.impulse[1:], response.rest
    options = [
        later,
        np.concatenate([later, rest[:-1, :, None]], 2),
        np.concatenate([later, np.diff(rest, axis=0)[:, :, None]], 2),
    ]
    for option in options:
        found = realise(option, solver)
        if found is None:
            continue
        a, b, c = found
        none = matrix([], 0).sum(0)
        early = AffineSystem(
            a, b[:, : later.shape[2]], c, matrix([list(row) for row in response.impulse[0]], later.shape[2]), none, none, none
        )
        for system in (early, early.made_late()):
            resting = with_rest(system, response, solver) if system is not None else None
            if resting is not None:
                yield from _forms(resting)


def _forms(system: AffineSystem) -> Iterator[AffineSystem]:
    """Yield the system in coordinates that read well: predictions, differences, past inputs."""
    yield system
    n = len(system.a)
    one = matrix([[int(i == j) for j in range(n)] for i in range(n)], n)
    for change in (_chain(system.c, system.a), _chain(system.c, system.a - one), _past_inputs(system)):
        changed = system.changed(change) if change is not None else None
        if changed is not None:
            yield changed


def _chain(c: np.ndarray, a: np.ndarray) -> np.ndarray | None:
    """Return independent rows C_o M^k, in order of k; None if they do not span."""
    rows: list[list[Fraction]] = []
    power = c
    for _ in range(len(a)):
        for row in power:
            if combination(rows, list(row)) is None:
                rows.append(list(row))
        power = _dot(power, a)
    return matrix(rows, len(a)) if len(rows) == len(a) and rows else None


def _past_inputs(system: AffineSystem) -> np.ndarray | None:
    """Return the change to coordinates in which state k is driven by the input k steps ago, by columns A^k B."""
    columns: list[list[Fraction]] = []
    power = system.b
    for _ in range(len(system.a)):
        for j in range(power.shape[1]):
            if combination(columns, list(power[:, j])) is None:
                columns.append(list(power[:, j]))
        power = _dot(system.a, power)
    if len(columns) < len(system.a) or not columns:
        return None
    return inverse(matrix(columns, len(system.a)).T)


def to_machine(system: AffineSystem) -> Machine:
    """Return the machine that computes an affine system, with states a, b, c, ..."""
    inputs = input_names(system.b.shape[1])
    names = [f"s{i + 1}" for i in range(len(system.a))]
    terms = [Variable(name) for name in [*names, *inputs]]
    start = [int(value) if value.denominator == 1 else value for value in system.start]
    states = tuple(
        State(name, start[i], linear([*system.a[i], *system.b[i]], list(terms), system.state_bias[i]))
        for i, name in enumerate(names)
    )
    outputs = tuple(linear([*system.c[o], *system.d[o]], list(terms), system.output_bias[o]) for o in range(len(system.c)))
    return Machine(inputs, states, outputs, system.late, method="affine: exact rational realisation of the responses")
