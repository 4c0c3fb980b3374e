"""Sum of squares modulo 5."""

LOW, HIGH, LENGTH = 0, 4, 10


def outputs(xs):
    s = 0
    ys = []
    for x in xs:
        s = (s + x * x) % 5
        ys.append(s)
    return ys
