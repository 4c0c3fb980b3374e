"""Largest less smallest so far."""

LOW, HIGH, LENGTH = 0, 9, 10


def outputs(xs):
    most = 0
    least = 9
    ys = []
    for x in xs:
        most, least = max(most, x), min(least, x)
        ys.append(most - least)
    return ys
