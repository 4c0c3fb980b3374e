"""How often a number was larger than the one before."""

LOW, HIGH, LENGTH = 0, 9, 10


def outputs(xs):
    before = 0
    n = 0
    ys = []
    for x in xs:
        n += x > before
        before = x
        ys.append(n)
    return ys
