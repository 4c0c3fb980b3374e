"""Carries of a sum modulo 7."""

LOW, HIGH, LENGTH = 0, 9, 10


def outputs(xs):
    rest = 0
    ys = []
    for x in xs:
        carry, rest = divmod(rest + x, 7)
        ys.append(carry)
    return ys
