"""What makes two dictionaries' numbers incomparable, said by name."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from pellucid.evaluation.run_rows import Row

ORIGINAL_CE_TOLERANCE = 1e-3
"""Original CEs further apart than this (nats) were not measured on the same positions."""


def warnings(rows: Sequence[Row], measure: str) -> list[str]:
    """Return one sentence per thing that differs or is missing over the rows, each with the names."""
    found = [
        _differ(rows, "hosts", lambda row: row.host),
        _differ(rows, "data", lambda row: row.data_digest and row.data_digest[:12]),
        _differ(rows, "held-out token counts", lambda row: count(row.held_out_tokens)),
        _differ(rows, "training budgets (warm start + own tokens)", lambda row: count(row.budget)),
        _differ(rows, "definitions of alive", lambda row: row.alive_definition),
        _original_ce(rows),
    ]
    for key in dict.fromkeys((measure, "l0", "alive", "tokens")):
        found.append(_missing(rows, key))
    found.append(_not_positive(rows, measure))
    sizes = {(row.site, row.architecture, row.objective) for row in rows}
    for group in sorted(sizes):
        members = [row for row in rows if (row.site, row.architecture, row.objective) == group]
        found.append(_differ(members, f"dictionary widths within {' '.join(group)}", lambda row: count(row.n_latents)))
    return [sentence for sentence in found if sentence]


def obstacles(rows: Sequence[Row]) -> str | None:
    """Return why no ratio over these rows means anything (another host, other data), or None."""
    found = [
        _differ(rows, "hosts", lambda row: row.host),
        _differ(rows, "data", lambda row: row.data_digest and row.data_digest[:12]),
    ]
    return " ".join(sentence for sentence in found if sentence) or None


def alive_obstacle(rows: Sequence[Row]) -> str | None:
    """Return why alive counts of these rows cannot be set against each other, or None."""
    return _differ(rows, "definitions of alive", lambda row: row.alive_definition)


def budgets(rows: Iterable[Row]) -> str:
    """Return the training budgets of the rows in words, each once."""
    return " or ".join(dict.fromkeys(budget(row) or "an unstated number of tokens" for row in rows))


def budget(row: Row) -> str | None:
    """Return a row's budget in words: "2,000,000 tokens (500,000 warm start)"."""
    if row.budget is None:
        return None
    warm = f" ({count(row.warm_start_tokens)} warm start)" if row.warm_start_tokens else ""
    return f"{count(row.budget)} tokens{warm}"


def count(value: float | None) -> str | None:
    """Return a count with thousands separators, None for None."""
    return None if value is None else f"{value:,.0f}"


def _differ(rows: Sequence[Row], what: str, value: Callable[[Row], str | None]) -> str | None:
    """ "hosts differ: a for x/y, b for z", or None where at most one value is stated."""
    named: dict[str, list[Row]] = {}
    for row in rows:
        named.setdefault(value(row) or "not stated", []).append(row)
    if len(named) < 2:
        return None
    parts = [f"{shown} for {_names(members, rows)}" for shown, members in named.items()]
    return f"{what[0].upper()}{what[1:]} differ: {'; '.join(parts)}."


def _original_ce(rows: Sequence[Row]) -> str | None:
    stated = [row.ce_original for row in rows if row.ce_original is not None]
    if not stated or max(stated) - min(stated) <= ORIGINAL_CE_TOLERANCE:
        return None
    spread = f"{min(stated):.4f} to {max(stated):.4f} nats"
    return f"The host's own CE differs between rows ({spread}): the scored positions are not the same."


def _missing(rows: Sequence[Row], key: str) -> str | None:
    without = [row for row in rows if getattr(row, key) is None]
    return f"{len(without)} of {len(rows)} dictionaries state no {key}: {_names(without, rows)}." if without else None


def _not_positive(rows: Sequence[Row], measure: str) -> str | None:
    found = [row for row in rows if (value := getattr(row, measure)) is not None and value <= 0]
    if not found:
        return None
    return (
        f"{measure} is 0 or below for {_names(found, rows)}: the splice is as good as the host on these positions, "
        "within their noise. Such points stay on the fronts, but no ratio is taken of a value that is not above 0."
    )


def _names(members: Sequence[Row], rows: Sequence[Row]) -> str:
    """Names of the members; a run, or an objective of a run, all of whose rows are members is named once."""
    shown: list[str] = []
    for row in members:
        for name, key in ((row.run, ("run",)), (f"{row.run} ({row.objective})", ("run", "objective"))):
            alike = [other for other in rows if all(getattr(other, part) == getattr(row, part) for part in key)]
            if all(other in members for other in alike):
                shown.append(name)
                break
        else:
            shown.append(row.label)
    return ", ".join(dict.fromkeys(shown))
