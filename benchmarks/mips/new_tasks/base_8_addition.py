"""Digits of a sum in base 8, lowest first."""

LOW, HIGH, LENGTH = 0, 7, 10
WIDTH = 2


def outputs(xs):
    carry, ys = 0, []
    for a, b in xs:
        carry, digit = divmod(a + b + carry, 8)
        ys.append(digit)
    return ys
