def program(xs):
    """Recovered from a recurrent network.

    Input: a list of integers, 0..2. Output: a list of numbers, one for each input.

    Found as: automaton of 6 states, as a table. It looks up a table of 18 entries.

    Checked in a separate process on 10000 fresh sequences of length 10: it agrees with the network on
    100.0000% of the outputs. Against the exact outputs of these, 1000 of length 50, 200 of length 200,
    corner inputs: 0 errors; the network itself has 0 at the training length.

    Proven equal to the network's automaton on words of any length, by a walk through all 6 pairs of
    states.

    The network keeps to the automaton: its outputs are at most 0.320 off over 20042 visits of 18 of 18
    (state, input) pairs.
    """
    NEXT = {
        (0, 0): 1, (0, 1): 2, (0, 2): 0, (1, 0): 3, (1, 1): 1, (1, 2): 4, (2, 0): 5, (2, 1): 0, (2, 2): 2, (3,
        0): 2, (3, 1): 4, (3, 2): 1, (4, 0): 0, (4, 1): 5, (4, 2): 3, (5, 0): 4, (5, 1): 3, (5, 2): 5
    }
    OUTPUT = {
        (0, 0): 0, (0, 1): 1, (0, 2): 2, (1, 0): 2, (1, 1): 2, (1, 2): 0, (2, 0): 1, (2, 1): 0, (2, 2): 1, (3,
        0): 0, (3, 1): 2, (3, 2): 1, (4, 0): 1, (4, 1): 1, (4, 2): 0, (5, 0): 2, (5, 1): 0, (5, 2): 0
    }
    state = 0  # state number, in order of discovery
    ys = []
    for x in xs:
        ys.append(OUTPUT[state, x])
        state = NEXT[state, x]
    return ys
