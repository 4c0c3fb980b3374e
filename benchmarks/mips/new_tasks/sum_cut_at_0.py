"""A sum that does not fall below 0."""

LOW, HIGH, LENGTH = -10, 10, 10


def outputs(xs):
    s = 0
    ys = []
    for x in xs:
        s = max(0, s + x)
        ys.append(s)
    return ys
