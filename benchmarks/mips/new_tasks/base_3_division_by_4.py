"""Digits of the quotient by 4, base 3."""

LOW, HIGH, LENGTH = 0, 2, 10


def outputs(xs):
    rest = 0
    ys = []
    for x in xs:
        quotient, rest = divmod(3 * rest + x, 4)
        ys.append(quotient)
    return ys
