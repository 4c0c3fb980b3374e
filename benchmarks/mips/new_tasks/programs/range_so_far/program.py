def program(xs):
    """Recovered from a recurrent network.

    Input: a list of integers, 0..9. Output: a list of numbers, one for each input.

    Found as: running folds: largest_x, smallest_x. No table in it.

    Checked in a separate process on 10000 fresh sequences of length 10: it agrees with the network on
    100.0000% of the outputs. Against the exact outputs of these, 1000 of length 50, 200 of length 200,
    corner inputs: 0 errors; the network itself has 0 at the training length.

    Proven equal to the network's automaton on words of any length, by a walk through all 56 pairs of
    states.

    The network keeps to the automaton: its outputs are at most 0.172 off over 21560 visits of 560 of 560
    (state, input) pairs.
    """
    largest_x = 0  # largest x so far
    smallest_x = 9  # smallest x so far
    ys = []
    for x in xs:
        largest_x = max(largest_x, x)
        smallest_x = min(smallest_x, x)
        ys.append(largest_x - smallest_x)
    return ys
