"""The small language of recovered programs: integer expressions, and machines made of them."""

from pellucid.programs.language.expression import Call, Constant, Expression, Lookup, Variable
from pellucid.programs.language.machine import Machine, State

__all__ = ["Call", "Constant", "Expression", "Lookup", "Machine", "State", "Variable"]
