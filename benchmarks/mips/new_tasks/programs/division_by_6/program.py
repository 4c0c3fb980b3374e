def program(xs):
    """Recovered from a recurrent network.

    Input: a list of integers, 0..1. Output: a list of numbers, one for each input.

    Found as: automaton of 6 states; labels: a remainder modulo 6. No table in it.

    Constants: 3 is found from the network; 6 is how many states the automaton has.

    Checked in a separate process on 10000 fresh sequences of length 10: it agrees with the network on
    100.0000% of the outputs. Against the exact outputs of these, 1000 of length 50, 200 of length 200,
    corner inputs: 0 errors; the network itself has 0 at the training length.

    Proven equal to the network's automaton on words of any length, by a walk through all 6 pairs of
    states.

    The network keeps to the automaton: its outputs are at most 0.034 off over 20034 visits of 12 of 12
    (state, input) pairs.
    """
    remainder = 0  # a remainder modulo 6
    ys = []
    for x in xs:
        ys.append(remainder // 3)
        remainder = (2 * remainder + x) % 6
    return ys
