"""Roads from a network to machines: affine systems, automata, windows of inputs, feedback of outputs, running folds."""
