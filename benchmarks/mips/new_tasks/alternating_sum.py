"""Sum with signs in turn."""

LOW, HIGH, LENGTH = 0, 9, 10


def outputs(xs):
    s = 0
    sign = 1
    ys = []
    for x in xs:
        s += sign * x
        sign = -sign
        ys.append(s)
    return ys
