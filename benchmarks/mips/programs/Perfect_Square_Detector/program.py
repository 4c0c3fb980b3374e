def program(xs):
    """Recovered from a recurrent network.

    Input: a list of integers, 0..19. Output: a list of numbers, one for each input.

    Found as: window of the last 1 inputs. It looks up a table of 20 entries.

    Checked in a separate process on 10000 fresh sequences of length 10: it agrees with the network on
    100.0000% of the outputs. Against the exact outputs of these, 1000 of length 50, 200 of length 200, corner
    inputs: 0 errors; the network itself has 0 at the training length.

    Proven equal to the network's automaton on words of any length, by a walk through all 1 pairs of states.

    The network keeps to the automaton: its outputs are at most 0.420 off over 20020 visits of 20 of 20
    (state, input) pairs.
    """
    OUTPUT = (1, 1, 0, 0, 1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0)
    ys = []
    for x in xs:
        ys.append(OUTPUT[x])
    return ys
