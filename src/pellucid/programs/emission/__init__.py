"""Machines written down: as Python, as JSON, as a drawing."""

from pellucid.programs.emission.drawing import automaton_svg, automaton_to_dot
from pellucid.programs.emission.python import program_source

__all__ = ["automaton_svg", "automaton_to_dot", "program_source"]
