"""Larger of two numbers."""

LOW, HIGH, LENGTH = 0, 9, 10
WIDTH = 2


def outputs(xs):
    return [max(a, b) for a, b in xs]
