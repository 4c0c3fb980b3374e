def program(xs):
    """Recovered from a recurrent network.

    Input: a list of tuples of 2 integers, -10..10. Output: a list of tuples of 2 numbers, one for each input.

    Found as: affine: exact rational realisation of the responses. No table in it.

    Checked in a separate process on 10000 fresh sequences of length 10: it agrees with the network on
    100.0000% of the outputs. Against the exact outputs of these, 1000 of length 50, 200 of length 200, corner
    inputs: 0 errors; the network itself has 0 at the training length.
    """
    s1 = 0
    s2 = 0
    s3 = 0
    s4 = 0
    ys = []
    for p, q in xs:
        s1 = s1 + s3 + p
        s2 = s2 + s4 + q
        s3, s4 = s3 + p - s4 - q, s3 + s4 + p + q
        ys.append((s1, s2))
    return ys
