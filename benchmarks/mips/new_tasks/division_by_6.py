"""Bits of the quotient by 6 of the binary number read so far."""

LOW, HIGH, LENGTH = 0, 1, 10


def outputs(xs):
    rest = 0
    ys = []
    for x in xs:
        quotient, rest = divmod(2 * rest + x, 6)
        ys.append(quotient)
    return ys
