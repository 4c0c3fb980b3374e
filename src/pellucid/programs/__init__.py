"""From a recurrent network, or only data, to a Python program that provably does the same."""
