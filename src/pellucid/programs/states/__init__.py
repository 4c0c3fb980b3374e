"""States of a network: finite automata by breadth-first search, and integer coordinates for them."""

from pellucid.programs.states.automaton import Automaton
from pellucid.programs.states.search import TooManyStates, find_automaton

__all__ = ["Automaton", "TooManyStates", "find_automaton"]
