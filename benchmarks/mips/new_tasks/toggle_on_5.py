"""A switch that every 5 turns."""

LOW, HIGH, LENGTH = 0, 9, 10


def outputs(xs):
    on = 0
    ys = []
    for x in xs:
        on = (on + (x == 5)) % 2
        ys.append(on)
    return ys
