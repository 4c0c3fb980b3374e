def program(xs):
    """Recovered from a recurrent network.

    Input: a list of integers, 0..1. Output: a list of numbers, one for each input.

    Found as: running folds: balance_x, highest_balance_x. No table in it.

    Checked in a separate process on 10000 fresh sequences of length 10: it agrees with the network on
    100.0000% of the outputs. Against the exact outputs of these, 1000 of length 50, 200 of length 200, corner
    inputs: 0 errors; the network itself has 0 at the training length.

    The network keeps to the automaton: its outputs are at most 0.151 off over 19626 visits of 14 of 14
    (state, input) pairs.
    """
    balance_x = 0  # sum of x, measured from the middle of its range
    highest_balance_x = 0  # largest balance_x so far
    ys = []
    for x in xs:
        highest_balance_x = max(highest_balance_x, balance_x + (2 * x - 1))
        balance_x = balance_x + (2 * x - 1)
        ys.append(int(balance_x == 2 * highest_balance_x))
    return ys
