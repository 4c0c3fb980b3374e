"""Larger of the last two."""

LOW, HIGH, LENGTH = 0, 50, 10


def outputs(xs):
    seen = [0] * 1 + list(xs)
    return [max(seen[t - 1], seen[t]) for t in range(1, len(seen))]
