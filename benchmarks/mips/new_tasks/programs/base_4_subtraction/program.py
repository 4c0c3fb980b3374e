def program(xs):
    """Recovered from a recurrent network.

    Input: a list of tuples of 2 integers, 0..3. Output: a list of numbers, one for each input.

    Found as: automaton of 2 states; labels: the number of steps it takes from the start. No table in it.

    Constants: 4 is how many values an input has.

    Checked in a separate process on 10000 fresh sequences of length 10: it agrees with the network on
    100.0000% of the outputs. Against the exact outputs of these, 1000 of length 50, 200 of length 200,
    corner inputs: 0 errors; the network itself has 0 at the training length.

    Proven equal to the network's automaton on words of any length, by a walk through all 2 pairs of
    states.

    The network keeps to the automaton: its outputs are at most 0.205 off over 20048 visits of 32 of 32
    (state, input) pairs.
    """
    level = 0  # the number of steps it takes from the start
    ys = []
    for p, q in xs:
        ys.append(-(level + q - p) % 4)
        level = int(level + q - p >= 1)
    return ys
