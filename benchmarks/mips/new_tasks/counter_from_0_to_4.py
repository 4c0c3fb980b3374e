"""A counter up and down that stops at 0 and 4."""

LOW, HIGH, LENGTH = 0, 1, 10


def outputs(xs):
    n = 0
    ys = []
    for x in xs:
        n = min(4, max(0, n + 2 * x - 1))
        ys.append(n)
    return ys
