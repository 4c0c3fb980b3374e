"""Digits of a difference in base 4, lowest first."""

LOW, HIGH, LENGTH = 0, 3, 10
WIDTH = 2


def outputs(xs):
    borrow, ys = 0, []
    for a, b in xs:
        digit = a - b - borrow
        borrow = int(digit < 0)
        ys.append(digit % 4)
    return ys
