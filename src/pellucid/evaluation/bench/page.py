"""The benchmark's page, as HTML that opens offline and as Markdown, from the same tables."""

from __future__ import annotations

from html import escape
from typing import Any

from pellucid.evaluation.bench.table import MEASURES, NEAR

STYLE = """body{font:15px/1.5 system-ui,sans-serif;max-width:78rem;margin:2rem auto;padding:0 1rem;color:#1c1c1f}
table{border-collapse:collapse;margin:.6rem 0;display:block;overflow-x:auto}caption{text-align:left;font-weight:600}
td,th{padding:.15rem .6rem;border-bottom:1px solid #ddd;text-align:left;white-space:nowrap}td.n{text-align:right}
.best{font-weight:700}.no{color:#a33}"""
WORDS = {"host": "language model"}


def html(found: dict[str, Any]) -> str:
    """Return the whole page."""
    body = []
    for title, content in sections(found):
        body.append(f"<h2>{escape(title)}</h2>")
        body += [_html_table(*part) if isinstance(part, tuple) else f"<p>{escape(part)}</p>" for part in content]
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>Sparse dictionaries side by side</title>'
        f"<style>{STYLE}</style><h1>Sparse dictionaries side by side</h1>{''.join(body)}</html>\n"
    )


def markdown(found: dict[str, Any]) -> str:
    """Return the same page as Markdown."""
    lines = ["# Sparse dictionaries side by side", ""]
    for title, content in sections(found):
        lines += [f"## {title}", ""]
        for part in content:
            lines += [*_markdown_table(*part), ""] if isinstance(part, tuple) else [part, ""]
    return "\n".join(lines).rstrip() + "\n"


Table = tuple[str, list[str], list[list[str]]]
"""Caption, head and rows."""


def sections(found: dict[str, Any]) -> list[tuple[str, list[str | Table]]]:
    """Return titles and their paragraphs and tables."""
    parts: list[tuple[str, list[str | Table]]] = [("How this was measured", _method(found))]
    parts.append(("Who won where", [_winners(found)]))
    parts += [(f"On {WORDS.get(bed, bed)}", _bed(found, bed)) for bed in found["tables"]]
    parts.append(("Settings that a person would try first", _defaults(found)))
    rows = [[f["verdict"], f["statement"], f["figures"]] for f in found["findings"]]
    parts.append(("What papers say, and what was not reproduced", [("", ["verdict", "statement", "measured"], rows)]))
    failed: list[str | Table] = [f"{kind} on {', '.join(beds)}: {why}." for (kind, why), beds in _left_out(found).items()]
    failed += [f"{cell['architecture']} on {cell['bed']}: {cell['failed']}" for cell in found["failed"]]
    return [*parts, ("What was not run", failed or ["Nothing."])]


def _left_out(found: dict[str, Any]) -> dict[tuple[str, str], list[str]]:
    """Return (architecture, why) -> the data on which it is not run."""
    beds: dict[tuple[str, str], list[str]] = {}
    for row in found["left_out"]:
        beds.setdefault((row["architecture"], row["reason"]), []).append(WORDS.get(row["bed"], row["bed"]))
    return beds


def _method(found: dict[str, Any]) -> list[str | Table]:
    options, where = found["options"], found["environment"]
    text = (
        f"{found['finished']} of {found['total']} cells, with {found['budget']}. Every architecture sees the same rows in "
        f"the same order, has the same number of settings tried (sparsity first, then the learning rate at the sparsity so "
        f"found) and is compared at equal L0: scores are interpolated linearly in L0 between two settings on the method's own "
        f"front of unexplained variance over L0, never extrapolated, and not read where no setting of the front is within a "
        f"factor of {NEAR} of that L0: then there is a dash. The range over seeds of the nearest setting stands behind +-. "
        f"Agreement of seeds is that of its live atoms. CPU seconds are the process time of one thread for a dictionary, "
        f"cells side by side: data, training and checkpoint, not scores."
    )
    heads = ["data", "latents", "L0", "tokens", "rows a step", "first lr", "settings", "seeds", "held-out rows"]
    keys = ("n_latents", "target_l0", "tokens", "batch_rows", "lr", "settings", "seeds", "rows")
    rows = [[WORDS.get(bed, bed), *(_number(budget[key]) for key in keys)] for bed, budget in found["budgets"].items()]
    facts = [f"{key} {value}" for key, value in {**where, **where.get("versions", {})}.items() if isinstance(value, (str, int))]
    return [text, ("Budgets", heads, rows), f"Command: {found['command']}. Seed {options['seed']}; {', '.join(facts)}."]


def _winners(found: dict[str, Any]) -> Table:
    beds = list(found["winners"])
    measures = [m for m in MEASURES if any(m in found["winners"][bed] for bed in beds)]
    rows = [[MEASURES[m][0], *(_places(found["winners"][bed].get(m, [])) for bed in beds)] for m in measures]
    return (
        "Best at equal L0; in brackets those within the range over seeds",
        ["measure", *(WORDS.get(b, b) for b in beds)],
        rows,
    )


def _places(names: list[str]) -> str:
    if not names:
        return "-"
    return names[0] + (f" ({', '.join(names[1:4])}{', ...' if len(names) > 4 else ''})" if len(names) > 1 else "")


def _bed(found: dict[str, Any], bed: str) -> list[str | Table]:
    table = found["tables"][bed]
    measures = [m for m in MEASURES if any(m in row["matched"] for row in table.values())]
    rows = [[kind, *(_cell(row, m) for m in measures), row["reach"]] for kind, row in table.items()]
    caption = f"At L0 {_number(found['budgets'][bed]['target_l0'])}"
    return [(caption, ["architecture", *(m.replace("_", " ") for m in measures), "how"], rows)]


def _cell(row: dict[str, Any], measure: str) -> str:
    value = row["matched"].get(measure)
    if value is None:
        return "-"
    spread = row["spread"].get(measure)
    return _number(value) + (f" +- {spread:.2g}" if spread is not None else "")


def _defaults(found: dict[str, Any]) -> list[str | Table]:
    rows = [
        [kind, _number(row["default"]), _number(row["best"]), _number(row["share"]), "yes" if row["enough"] else "no"]
        for kind, row in found["defaults"].items()
    ]
    text = (
        "Mean matched cosine on 'independent' of each architecture's defaults (where it needs a number of active latents, the "
        "true one) beside the best of all settings tried; wanted: 0.9 of it."
    )
    return [text, ("", ["architecture", "defaults", "best", "share", "enough"], rows)]


def _number(value: Any) -> str:
    if value is None:
        return "-"
    return f"{value:,}" if isinstance(value, int) else f"{value:.3g}"


def _html_table(caption: str, head: list[str], rows: list[list[str]]) -> str:
    top = "".join(f"<th>{escape(cell)}</th>" for cell in head)
    body = "".join("<tr>" + "".join(_html_cell(cell) for cell in row) + "</tr>" for row in rows)
    return f"<table><caption>{escape(caption)}</caption><tr>{top}</tr>{body}</table>"


def _html_cell(cell: str) -> str:
    kind = ' class="n"' if cell[:1].isdigit() else ' class="no"' if cell in ("no", "not reproduced") else ""
    return f"<td{kind}>{escape(cell)}</td>"


def _markdown_table(caption: str, head: list[str], rows: list[list[str]]) -> list[str]:
    lines = [caption, ""] if caption else []
    lines += ["| " + " | ".join(head) + " |", "|" + " --- |" * len(head)]
    return lines + ["| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in rows]
