def program(xs):
    """Recovered from a recurrent network.

    Input: a list of integers, 0..3. Output: a list of numbers, one for each input.

    Found as: running folds: count_0, count_1, count_2, count_3. No table in it.

    Constants: 3 is the largest input.

    Checked in a separate process on 10000 fresh sequences of length 10: it agrees with the network on
    100.0000% of the outputs. Against the exact outputs of these, 1000 of length 50, 200 of length 200, corner
    inputs: 0 errors; the network itself has 0 at the training length.

    The network keeps to the automaton: its outputs are at most 0.268 off over 20128 visits of 924 of 924
    (state, input) pairs.
    """
    count_0 = 0  # how often 0 has come
    count_1 = 0  # how often 1 has come
    count_2 = 0  # how often 2 has come
    count_3 = 0  # how often 3 has come
    ys = []
    for x in xs:
        count_0 = count_0 + int(x == 0)
        count_1 = count_1 + int(x == 1)
        count_2 = count_2 + int(x == 2)
        count_3 = count_3 + int(x == 3)
        ys.append([count_0, count_1, count_2, count_3].index(max(count_0, count_1, count_2, count_3)))
    return ys
