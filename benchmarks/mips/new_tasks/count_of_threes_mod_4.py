"""How many threes so far, modulo 4."""

LOW, HIGH, LENGTH = 0, 9, 10


def outputs(xs):
    n = 0
    ys = []
    for x in xs:
        n = (n + (x == 3)) % 4
        ys.append(n)
    return ys
