def program(xs):
    """Recovered from a recurrent network.

    Input: a list of integers, 0..9. Output: a list of numbers, one for each input.

    Found as: automaton of 7 states; labels: a counter modulo 7. No table in it.

    Constants: 7 is how many states the automaton has.

    Checked in a separate process on 10000 fresh sequences of length 10: it agrees with the network on
    99.9770% of the outputs. Against the exact outputs of these, 1000 of length 50, 200 of length 200,
    corner inputs: 0 errors; the network itself has 23 at the training length.

    Proven equal to the network's automaton on words of any length, by a walk through all 7 pairs of
    states.

    The network keeps to the automaton: its outputs are at most 0.944 off over 20130 visits of 70 of 70
    (state, input) pairs.
    """
    remainder = 0  # a counter modulo 7
    ys = []
    for x in xs:
        ys.append((remainder + x) // 7)
        remainder = (remainder + x) % 7
    return ys
