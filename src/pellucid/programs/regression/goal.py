"""The last operator, found from the target: which two expressions of a bank give it together."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from pellucid.programs.language.expression import Expression, call
from pellucid.programs.regression.bank import Bank

MOST_PAIRED = 1500


def matches(bank: Bank, target: np.ndarray) -> Iterator[Expression]:
    """Yield expressions that equal the target on every point of the bank, with one operator more than the bank has."""
    place = {code: i for i, code in reversed(list(enumerate(bank.codes(bank.values).tolist())))}

    def find(values: np.ndarray) -> list[tuple[int, int]]:
        codes = bank.codes(values).tolist()
        return [(i, place[code]) for i, code in enumerate(codes) if code in place]

    for _, j in find(target[None]):
        yield bank.expression(j)
    for operator, wanted in (("add", target - bank.values), ("sub", bank.values - target)):
        pairs = sorted(find(wanted), key=lambda pair: bank.bits[list(pair)].sum())
        for i, j in pairs[:3]:
            yield call(operator, bank.expression(i), bank.expression(j))
    yield from _extremes(bank, target)
    yield from _remainders(bank, target)
    if np.isin(target, (0, 1)).all() and np.ptp(target):
        yield from _comparisons(bank, target)
        yield from _junctions(bank, target)


def _extremes(bank: Bank, target: np.ndarray) -> Iterator[Expression]:
    """max(a, b) needs a, b <= target everywhere and one of them equal to it at each point; min likewise."""
    for operator, possible in (("max", bank.values <= target), ("min", bank.values >= target)):
        yield from _covering(bank, operator, np.flatnonzero(possible.all(1)), bank.values != target)


def _junctions(bank: Bank, target: np.ndarray) -> Iterator[Expression]:
    """`a and b` needs both true wherever the target is, and one false wherever it is not; `or` likewise."""
    truths = bank.truths()
    values = bank.values[truths]
    for operator, possible in (("and", values >= target), ("or", values <= target)):
        yield from _covering(bank, operator, truths[possible.all(1)], bank.values != target)


def _covering(bank: Bank, operator: str, rows: np.ndarray, open_points: np.ndarray) -> Iterator[Expression]:
    rows = rows[np.argsort(bank.bits[rows], kind="stable")][:MOST_PAIRED]
    if not len(rows):
        return
    missing = open_points[rows].astype(np.float32)
    both = np.argwhere(np.triu(missing @ missing.T == 0, 1))
    if not len(both):
        return
    for i in np.argsort(bank.bits[rows[both]].sum(1), kind="stable")[:3]:
        a, b = rows[both[i]]
        yield call(operator, bank.expression(a), bank.expression(b))


def _comparisons(bank: Bank, target: np.ndarray) -> Iterator[Expression]:
    """a == b and a < b over pairs of short expressions."""
    short = np.argsort(bank.bits, kind="stable")[:400]
    values = bank.values[short]
    for operator, test in (("eq", np.equal), ("lt", np.less)):
        for i in range(len(short)):
            agree = (test(values[i], values) == target).all(1)
            for j in np.flatnonzero(agree)[:1]:
                yield call(operator, bank.expression(short[i]), bank.expression(short[j]))


def _remainders(bank: Bank, target: np.ndarray) -> Iterator[Expression]:
    """e % n and e // n for every expression e and every divisor that the target suggests."""
    if target.min() < 0 or target.max() > 64:
        return
    for n in (int(target.max()) + 1, int(target.max()) + 2):
        if n < 2:
            continue
        for operator, values in (("mod", bank.values % n), ("floordiv", bank.values // n)):
            found = np.flatnonzero((values == target).all(1))
            for i in found[np.argsort(bank.bits[found], kind="stable")][:1]:
                yield call(operator, bank.expression(i), n)
