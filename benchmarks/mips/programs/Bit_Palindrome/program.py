def program(xs):
    """Recovered from a recurrent network.

    Input: a list of integers, 0..1. Output: a list of numbers, one for each input.

    Found as: running folds: digits_x, reversed_x. No table in it.

    Checked in a separate process on 10000 fresh sequences of length 10: it agrees with the network on
    100.0000% of the outputs. Against the exact outputs of these, 1000 of length 50, 200 of length 200, corner
    inputs: 0 errors; the network itself has 0 at the training length.

    The network keeps to the automaton: its outputs are at most 0.042 off over 13956 visits of 188 of 188
    (state, input) pairs.
    """
    digits_x = 0  # the number whose base-2 digits the inputs are
    weight_x = 1  # 2 to the number of steps so far
    reversed_x = 0  # the same digits read backwards, in base 2
    ys = []
    for x in xs:
        digits_x = 2 * digits_x + x
        reversed_x = reversed_x + weight_x * x
        weight_x = weight_x * 2
        ys.append(int(digits_x == reversed_x))
    return ys
