"""Majority of the last three bits."""

LOW, HIGH, LENGTH = 0, 1, 10


def outputs(xs):
    seen = [0] * 2 + list(xs)
    return [int(sum(seen[t - 2 : t + 1]) >= 2) for t in range(2, len(seen))]
