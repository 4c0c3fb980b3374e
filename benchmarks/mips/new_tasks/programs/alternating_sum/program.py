def program(xs):
    """Recovered from a recurrent network.

    Input: a list of integers, 0..9. Output: a list of numbers, one for each input.

    Found as: running folds: alternating_x. No table in it.

    Checked in a separate process on 10000 fresh sequences of length 10: it agrees with the network on
    100.0000% of the outputs. Against the exact outputs of these, 1000 of length 50, 200 of length 200,
    corner inputs: 0 errors; the network itself has 0 at the training length.

    The network keeps to the automaton: its outputs are at most 0.217 off over 29228 visits of 1560 of 1560
    (state, input) pairs.
    """
    sign_x = 1  # 1 and -1 in turn
    alternating_x = 0  # sum of x with signs in turn
    ys = []
    for x in xs:
        alternating_x = alternating_x + sign_x * x
        sign_x = -sign_x
        ys.append(alternating_x)
    return ys
