"""Affine real-valued systems, recovered from a network's responses with exact rationals."""

from pellucid.programs.affine.response import Response, measure_response
from pellucid.programs.affine.system import AffineSystem, realise

__all__ = ["AffineSystem", "Response", "measure_response", "realise"]
