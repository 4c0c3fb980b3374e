def program(xs):
    """Recovered from a recurrent network.

    Input: a list of integers, 0..15. Output: a list of numbers, one for each input.

    Found as: automaton of 15 states; labels: a remainder modulo 15. No table in it.

    Constants: 15 is the largest input.

    Checked in a separate process on 10000 fresh sequences of length 10: it agrees with the network on
    100.0000% of the outputs. Against the exact outputs of these, 1000 of length 50, 200 of length 200, corner
    inputs: 0 errors; the network itself has 0 at the training length.

    Proven equal to the network's automaton on words of any length, by a walk through all 15 pairs of states.

    The network keeps to the automaton: its outputs are at most 0.314 off over 20464 visits of 240 of 240
    (state, input) pairs.
    """
    remainder = 0  # a remainder modulo 15
    ys = []
    for x in xs:
        remainder = (remainder + x) % 15
        ys.append(int(remainder - x <= -1))
    return ys
