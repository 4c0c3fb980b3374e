"""All roads, cheapest first."""

from __future__ import annotations

from pellucid.programs.roads.affine import affine_road
from pellucid.programs.roads.automaton import automaton_road
from pellucid.programs.roads.context import Road
from pellucid.programs.roads.feedback import feedback_memory_road, feedback_road
from pellucid.programs.roads.folds import folds_road
from pellucid.programs.roads.window import window_road

ROADS: dict[str, Road] = {
    "affine": affine_road,
    "window": window_road,
    "feedback": feedback_road,
    "automaton": automaton_road,
    "feedback with memory": feedback_memory_road,
    "folds": folds_road,
}
"""Name -> road."""
