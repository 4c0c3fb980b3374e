"""Six states and three letters, drawn at random."""

LOW, HIGH, LENGTH = 0, 2, 10


def outputs(xs):
    after = [[1, 2, 0], [3, 1, 4], [5, 0, 2], [2, 4, 1], [0, 5, 3], [4, 3, 5]]
    marks = [[0, 1, 2], [2, 2, 0], [1, 0, 1], [0, 2, 1], [1, 1, 0], [2, 0, 0]]
    state, ys = 0, []
    for x in xs:
        ys.append(marks[state][x])
        state = after[state][x]
    return ys
