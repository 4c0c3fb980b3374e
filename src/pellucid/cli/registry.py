"""The verbs by name; a new verb is a class in a file of this room and a line here. A name may have two words."""

from __future__ import annotations

from pellucid.cli.dictionaries import BenchDictionaries
from pellucid.cli.explain import Explain
from pellucid.cli.explore import Explore
from pellucid.cli.fit import Fit
from pellucid.cli.hosts import Demo, Get
from pellucid.cli.index import Index
from pellucid.cli.programs import BenchMips, Distill
from pellucid.cli.runs import Compare, Evaluate, Report
from pellucid.cli.steer import Steer
from pellucid.cli.verb import Verb

VERBS: dict[str, type[Verb]] = {
    "demo": Demo,
    "get": Get,
    "fit": Fit,
    "evaluate": Evaluate,
    "compare": Compare,
    "report": Report,
    "index": Index,
    "explain": Explain,
    "explore": Explore,
    "steer": Steer,
    "distill": Distill,
    "bench mips": BenchMips,
    "bench dictionaries": BenchDictionaries,
}
