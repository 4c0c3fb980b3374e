"""State-space systems with exact rational numbers, realised from responses (Ho and Kalman 1966)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction

import numpy as np

from pellucid.programs.affine.exact import Row, combination, inverse, matrix
from pellucid.programs.affine.response import Response

Solver = Callable[[Sequence[Row], Row], list[Fraction] | None]
"""Coefficients that combine rows to a target, or None."""


@dataclass(frozen=True)
class AffineSystem:
    """s' = A s + B x + b; y = C s + D x + d, or with `late` y = C s' + d. All entries are Fractions."""

    a: np.ndarray
    b: np.ndarray
    c: np.ndarray
    d: np.ndarray
    start: np.ndarray
    state_bias: np.ndarray
    output_bias: np.ndarray
    late: bool = False

    def changed(self, p: np.ndarray) -> AffineSystem | None:
        """Return the system in the coordinates z = P s; None if P is singular. Inputs and outputs stay the same."""
        q = inverse(p)
        if q is None:
            return None
        a, c = _dot(_dot(p, self.a), q), _dot(self.c, q)
        return replace(self, a=a, b=_dot(p, self.b), c=c, start=_dot(p, self.start), state_bias=_dot(p, self.state_bias))

    def made_late(self) -> AffineSystem | None:
        """Return the system with outputs that read the updated state, C' A = C and C' B = D; None if there is none.

        Start and biases are left to `with_rest`."""
        if self.late:
            return self
        rows = [[*self.a[i], *self.b[i]] for i in range(len(self.a))]
        late = [combination(rows, [*self.c[o], *self.d[o]]) for o in range(len(self.c))]
        found = [row for row in late if row is not None]
        if len(found) < len(late):
            return None
        c = matrix(found, len(self.a))
        zero = matrix([[0] * self.d.shape[1]] * len(self.d), self.d.shape[1])
        return replace(self, c=c, d=zero, late=True)


def _dot(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Matrix product of object arrays; an empty inner axis gives Fractions too."""
    shape = (a.shape[0], *b.shape[1:])
    if a.shape[1] == 0:
        result = np.empty(shape, dtype=object)
        result[...] = Fraction(0)
        return result
    return np.asarray(np.dot(a, b), dtype=object).reshape(shape)


def realise(markov: np.ndarray, solver: Solver = combination) -> tuple[np.ndarray, np.ndarray, np.ndarray] | None:
    """Return the smallest (A, B, C) with markov[k] = C A^k B for every k [t o i]; None if T is too short to tell.

    The states are zero-input predictions: the rows C_o A^k that are independent, in order of k, found as rows of the
    block Hankel matrix [markov_{k+j}]. So A is in (observability) companion form: the shortest linear recurrence.
    """
    steps, n_out, n_in = markov.shape
    width = (steps + 1) // 2
    chains: dict[int, int] = {}
    basis: list[tuple[int, int]] = []

    def hankel(k: int, o: int) -> list[Fraction]:
        return [markov[k + j, o, i] for j in range(width) for i in range(n_in)]

    open_outputs = list(range(n_out))
    for k in range(steps - width + 1):
        for o in list(open_outputs):
            if solver([hankel(*place) for place in basis], hankel(k, o)) is None:
                basis.append((k, o))
            else:
                chains[o] = k
                open_outputs.remove(o)
    if open_outputs:
        return None
    return _companion(markov, basis, hankel, solver)


def _companion(
    markov: np.ndarray, basis: list[tuple[int, int]], hankel: Callable[[int, int], list[Fraction]], solver: Solver
) -> tuple[np.ndarray, np.ndarray, np.ndarray] | None:
    n, (_, n_out, n_in) = len(basis), markov.shape
    rows = [hankel(*place) for place in basis]

    def coordinates(place: tuple[int, int]) -> list[Fraction]:
        if place in basis:
            return [Fraction(int(other == place)) for other in basis]
        found = solver(rows, hankel(*place))
        assert found is not None
        return found

    a = matrix([coordinates((k + 1, o)) for k, o in basis], n)
    b = matrix([list(markov[k, o]) for k, o in basis], n_in)
    c = matrix([coordinates((0, o)) for o in range(n_out)], n)
    return (a, b, c) if _reproduces(markov, a, b, c, solver) else None


def _reproduces(markov: np.ndarray, a: np.ndarray, b: np.ndarray, c: np.ndarray, solver: Solver) -> bool:
    state = b
    for k in range(len(markov)):
        difference = [value for row in _dot(c, state) - markov[k] for value in row]
        if solver([], difference) is None:
            return False
        state = _dot(a, state)
    return True


def with_rest(system: AffineSystem, response: Response, solver: Solver) -> AffineSystem | None:
    """Return the system with the response r_t to zero, by biases, a start state, or both; None if that cannot be."""
    a, c = system.a, system.c
    n, steps, n_out = len(a), len(response.rest), len(c)
    columns = []  # early: r_t = C A^{t-1} s + sum_{j < t-1} C A^j b + d; late: one step more
    state, summed = (_dot(c, a), c) if system.late else (c, c * 0)
    for _ in range(steps):
        columns.append((state, summed))
        state, summed = _dot(state, a), summed + state
    flat = [value for row in response.rest for value in row]
    from_start = [[value for early, _ in columns for value in early[:, j]] for j in range(n)]
    from_bias = [[value for _, later in columns for value in later[:, j]] for j in range(n)]
    from_output = [[Fraction(int(o == j)) for _ in range(steps) for o in range(n_out)] for j in range(n_out)]
    zeros = [Fraction(0)]
    for use in ((), ("d",), ("b",), ("s",), ("b", "d"), ("s", "b"), ("s", "d"), ("s", "b", "d")):
        rows = (from_start if "s" in use else []) + (from_bias if "b" in use else []) + (from_output if "d" in use else [])
        found = solver(rows, flat)
        if found is None:
            continue
        start = [found.pop(0) for _ in range(n)] if "s" in use else zeros * n
        bias = [found.pop(0) for _ in range(n)] if "b" in use else zeros * n
        output = found if "d" in use else zeros * n_out
        vectors = [matrix([[v] for v in values], 1)[:, 0] for values in (start, bias, output)]
        return replace(system, start=vectors[0], state_bias=vectors[1], output_bias=vectors[2])
    return None
