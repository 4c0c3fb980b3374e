"""The command line: verbs only; each calls one public function."""

from pellucid.cli.fit import Fit, fit_config
from pellucid.cli.main import main, parse
from pellucid.cli.registry import VERBS

__all__ = ["VERBS", "Fit", "fit_config", "main", "parse"]
