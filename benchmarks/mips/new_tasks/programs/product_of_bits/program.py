def program(xs):
    """Recovered from a recurrent network.

    Input: a list of tuples of 2 integers, 0..1. Output: a list of numbers, one for each input.

    Found as: the last output as the state. No table in it.

    Checked in a separate process on 10000 fresh sequences of length 10: it agrees with the network on
    100.0000% of the outputs. Against the exact outputs of these, 1000 of length 50, 200 of length 200,
    corner inputs: 0 errors; the network itself has 0 at the training length.
    """
    y = 0  # the last output
    ys = []
    for p, q in xs:
        y = int(p * q != y)
        ys.append(y)
    return ys
