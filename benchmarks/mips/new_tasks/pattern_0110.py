"""Whether the last four bits are 0110."""

LOW, HIGH, LENGTH = 0, 1, 10


def outputs(xs):
    seen = [0] * 3 + list(xs)
    return [int(seen[t - 3 : t + 1] == [0, 1, 1, 0]) for t in range(3, len(seen))]
