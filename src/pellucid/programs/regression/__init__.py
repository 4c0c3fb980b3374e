"""Regression on recovered states: from a table of points to a short exact expression."""

from pellucid.programs.regression.fit import Fit, fit
from pellucid.programs.regression.table import Table, collect

__all__ = ["Fit", "Table", "collect", "fit"]
