def program(xs):
    """Recovered from a recurrent network.

    Input: a list of integers, 0..1. Output: a list of numbers, one for each input.

    Found as: window of the last 3 inputs. No table in it.

    Checked in a separate process on 10000 fresh sequences of length 10: it agrees with the network on
    100.0000% of the outputs. Against the exact outputs of these, 1000 of length 50, 200 of length 200,
    corner inputs: 0 errors; the network itself has 0 at the training length.
    """
    x_before = 0  # x 1 step ago
    x_before2 = 0  # x 2 steps ago
    ys = []
    for x in xs:
        ys.append((x + x_before + x_before2) // 2)
        x_before2 = x_before
        x_before = x
    return ys
