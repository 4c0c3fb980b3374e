"""Proof: emitted code run apart on fresh sequences, and checked against automaton and network."""
