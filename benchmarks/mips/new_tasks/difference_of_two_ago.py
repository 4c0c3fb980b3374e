"""Difference to the number two steps ago."""

LOW, HIGH, LENGTH = -20, 20, 10


def outputs(xs):
    seen = [0] * 2 + list(xs)
    return [seen[t] - seen[t - 2] for t in range(2, len(seen))]
