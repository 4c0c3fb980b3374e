"""Median of the last three."""

LOW, HIGH, LENGTH = 0, 9, 10


def outputs(xs):
    seen = [0] * 2 + list(xs)
    return [sorted(seen[t - 2 : t + 1])[1] for t in range(2, len(seen))]
