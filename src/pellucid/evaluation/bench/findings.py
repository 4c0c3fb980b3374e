"""What papers say of methods, held against this benchmark: held, not reproduced, or not comparable here."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from pellucid.evaluation.bench.table import Entry

Table = Mapping[str, Mapping[str, Entry]]
"""bed -> architecture -> entry."""


@dataclass(frozen=True)
class Finding:
    """A published statement beside what was measured."""

    statement: str
    verdict: str
    """held, not reproduced, undecided (the range over seeds of the first would turn it) or not comparable."""
    figures: str


@dataclass(frozen=True)
class Statement:
    """One measure of two architectures, or of one beside a number."""

    text: str
    bed: str
    measure: str
    first: str
    second: str | None
    holds: Callable[[float, float], bool]


STATEMENTS = (
    Statement("Gated dictionaries do not shrink (gamma within 0.01 of 1; 2404.16014)", "independent", "gamma", "gated", None,
              lambda a, _: abs(a - 1) <= 0.01),
    Statement("Gated dictionaries shrink less than ReLU ones (2404.16014)", "independent", "gamma", "gated", "relu",
              lambda a, b: abs(a - 1) < abs(b - 1)),
    Statement("BatchTopK explains more than TopK at equal L0 (2412.06410)", "independent", "fvu", "batch_topk", "topk",
              lambda a, b: a < b),
    Statement("BatchTopK explains more than TopK at equal L0 on a language model (2412.06410)", "host", "fvu", "batch_topk",
              "topk", lambda a, b: a < b),
    Statement("JumpReLU explains about as much as BatchTopK (within a tenth; 2412.06410)", "host", "fvu", "jumprelu",
              "batch_topk", lambda a, b: abs(a / b - 1) <= 0.1),
    Statement("Matryoshka explains less than BatchTopK (2503.17547)", "independent", "fvu", "matryoshka", "batch_topk",
              lambda a, b: a > b),
    Statement("Matryoshka absorbs less than BatchTopK (2503.17547)", "hierarchy", "absorption", "matryoshka", "batch_topk",
              lambda a, b: a < b),
    Statement("p-annealing shrinks less than ReLU (2408.00113)", "independent", "gamma", "p_anneal", "relu",
              lambda a, b: abs(a - 1) < abs(b - 1)),
    Statement("Archetypal dictionaries are more stable than TopK ones (2502.12892)", "host", "stability", "archetypal", "topk",
              lambda a, b: a > b),
    Statement("Matching pursuit absorbs less than ReLU (2506.03093)", "hierarchy", "absorption", "matching_pursuit", "relu",
              lambda a, b: a < b),
    Statement("JumpReLU does not shrink (gamma within 0.005 of 1; 2407.14435)", "independent", "gamma", "jumprelu", None,
              lambda a, _: abs(a - 1) <= 0.005),
)  # fmt: skip


def findings(table: Table) -> list[Finding]:
    """Return the verdict on every statement."""
    return [_finding(statement, table.get(statement.bed, {})) for statement in STATEMENTS]


def _finding(statement: Statement, bed: Mapping[str, Entry]) -> Finding:
    names = [name for name in (statement.first, statement.second) if name is not None]
    values = [bed[name].matched.get(statement.measure) if name in bed else None for name in names]
    where = f"{statement.measure} on '{statement.bed}'"
    if any(value is None for value in values):
        reasons = [f"{name}: {_why(bed, name)}" for name, value in zip(names, values, strict=True) if value is None]
        return Finding(statement.text, "not comparable", f"{where}: {'; '.join(reasons)}")
    first, second = float(values[0] or 0), float(values[-1] or 0)
    figures = f"{where}: " + ", ".join(f"{name} {float(value or 0):.3g}" for name, value in zip(names, values, strict=True))
    spread = bed[statement.first].spread.get(statement.measure, 0.0)
    verdicts = {statement.holds(value, second) for value in (first - spread, first, first + spread)}
    verdict = "undecided" if len(verdicts) > 1 else "held" if True in verdicts else "not reproduced"
    return Finding(statement.text, verdict, f"{figures}; range over seeds {spread:.2g}")


def _why(bed: Mapping[str, Entry], name: str) -> str:
    return bed[name].reach if name in bed else "not run"
