def program(xs):
    """Recovered from a recurrent network.

    Input: a list of integers, 0..1. Output: a list of numbers, one for each input.

    Found as: automaton of 11 states; labels: a counter. No table in it.

    Checked in a separate process on 10000 fresh sequences of length 10: it agrees with the network on
    100.0000% of the outputs. Against the exact outputs of these, 1000 of length 50, 200 of length 200, corner
    inputs: 0 errors; the network itself has 0 at the training length.

    The network keeps to the automaton: its outputs are at most 0.030 off over 19254 visits of 22 of 22
    (state, input) pairs.
    """
    count = 0  # a counter
    ys = []
    for x in xs:
        count = count + 2 * x - 1
        ys.append(int(count >= 1))
    return ys
