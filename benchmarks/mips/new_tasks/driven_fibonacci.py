"""Fibonacci numbers with a drive."""

LOW, HIGH, LENGTH = -5, 5, 10


def outputs(xs):
    a = 0
    b = 0
    ys = []
    for x in xs:
        a, b = a + b + x, a
        ys.append(a)
    return ys
