"""Sum of absolute values."""

LOW, HIGH, LENGTH = -10, 10, 10


def outputs(xs):
    s = 0
    ys = []
    for x in xs:
        s += abs(x)
        ys.append(s)
    return ys
