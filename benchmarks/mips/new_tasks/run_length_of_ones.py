"""Length of the run of ones that ends here."""

LOW, HIGH, LENGTH = 0, 1, 10


def outputs(xs):
    n = 0
    ys = []
    for x in xs:
        n = (n + 1) * x
        ys.append(n)
    return ys
