def program(xs):
    """Recovered from a recurrent network.

    Input: a list of integers, 0..9. Output: a list of numbers, one for each input.

    Found as: the last output as the state. No table in it.

    Checked in a separate process on 10000 fresh sequences of length 10: it agrees with the network on
    100.0000% of the outputs. Against the exact outputs of these, 1000 of length 50, 200 of length 200,
    corner inputs: 0 errors; the network itself has 0 at the training length.

    The network keeps to the automaton: its outputs are at most 0.500 off over 24869 visits of 820 of 820
    (state, input) pairs.
    """
    y = 0  # the last output
    x_before = 0  # x one step ago
    ys = []
    for x in xs:
        y = int(x_before < x) + y
        x_before = x
        ys.append(y)
    return ys
