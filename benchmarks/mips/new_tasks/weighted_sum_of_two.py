"""Twice one number less three times the other."""

LOW, HIGH, LENGTH = -9, 9, 10
WIDTH = 2


def outputs(xs):
    return [2 * a - 3 * b for a, b in xs]
