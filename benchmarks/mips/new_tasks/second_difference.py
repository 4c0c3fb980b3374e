"""Second difference."""

LOW, HIGH, LENGTH = -10, 10, 10


def outputs(xs):
    seen = [0] * 2 + list(xs)
    return [seen[t] - 2 * seen[t - 1] + seen[t - 2] for t in range(2, len(seen))]
