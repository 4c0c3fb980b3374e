"""Recurrent networks seen from outside: a start state and a step."""

from pellucid.programs.networks.base import StepNetwork, run

__all__ = ["StepNetwork", "run"]
