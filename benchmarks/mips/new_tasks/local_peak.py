"""Whether the number before is larger than both its neighbours."""

LOW, HIGH, LENGTH = 0, 9, 10


def outputs(xs):
    seen = [0] * 2 + list(xs)
    return [int(seen[t - 1] > max(seen[t], seen[t - 2])) for t in range(2, len(seen))]
