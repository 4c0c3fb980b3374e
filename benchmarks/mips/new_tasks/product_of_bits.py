"""Whether two bits were 1 together an odd number of times."""

LOW, HIGH, LENGTH = 0, 1, 10
WIDTH = 2


def outputs(xs):
    odd = 0
    ys = []
    for x in xs:
        a, b = x
        odd ^= a & b
        ys.append(odd)
    return ys
