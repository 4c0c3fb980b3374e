"""Smallest of the last three."""

LOW, HIGH, LENGTH = 0, 20, 10


def outputs(xs):
    seen = [0] * 2 + list(xs)
    return [min(seen[t - 2 : t + 1]) for t in range(2, len(seen))]
