def program(xs):
    """Recovered from a recurrent network.

    Input: a list of integers, -10..10. Output: a list of numbers, one for each input.

    Found as: affine: exact rational realisation of the responses. No table in it.

    Checked in a separate process on 10000 fresh sequences of length 10: it agrees with the network on
    100.0000% of the outputs. Against the exact outputs of these, 1000 of length 50, 200 of length 200, corner
    inputs: 0 errors; the network itself has 0 at the training length.
    """
    s1 = 0
    s2 = 0
    ys = []
    for x in xs:
        s1, s2 = s1 + s2 + x, -s1
        ys.append(s1)
    return ys
