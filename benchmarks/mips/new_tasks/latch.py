"""The last input that was not 2."""

LOW, HIGH, LENGTH = 0, 2, 10


def outputs(xs):
    kept = 0
    ys = []
    for x in xs:
        kept = kept if x == 2 else x
        ys.append(kept)
    return ys
