"""Exact changes of basis that make a trained network's weights readable, each with the error it makes."""

from pellucid.programs.simplify.pipeline import Simplified, Step, simplify

__all__ = ["Simplified", "Step", "simplify"]
