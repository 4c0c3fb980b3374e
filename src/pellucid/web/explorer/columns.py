"""What a list of features can be sorted and filtered by: the only names that ever reach a query."""

from __future__ import annotations

from typing import NamedTuple

SCORES = ("detection", "fuzzing", "simulation", "embedding", "intervention")
"""Scores of an explanation, in the order shown."""


class Column(NamedTuple):
    """A statistic of a latent."""

    key: str
    title: str
    form: str
    """Format specification of the value."""
    definition: str
    source: str
    """SQL expression over latents.parquet; empty for a score of an explanation."""


COLUMNS = {
    column.key: column
    for column in (
        Column("latent", "latent", "d", "Number of the latent in its dictionary.", "latent"),
        Column("firing_rate", "fires", ".3%", "Share of kept positions on which its code is above 0.", "firing_rate"),
        Column("firings", "firings", ",.0f", "Kept positions on which its code is above 0.", "firings"),
        Column("mean", "mean", ".3g", "Mean code over the positions on which it fires.", '"mean"'),
        Column("max", "max", ".3g", "Greatest code seen.", '"max"'),
        Column(
            "effect_kl",
            "KL if ablated (nats)",
            ".3g",
            "Mean KL(original || ablated), in nats, on sampled positions on which it fires, its contribution set to zero and "
            "the dictionary's error kept.",
            "effect_kl",
        ),
        Column("effect_ce", "CE if ablated (nats)", "+.3g", "Mean rise of the cross-entropy there, in nats.", "effect_ce"),
        Column("logit", "top logit", ".3g", "Effect of its atom on the token it raises most.", "raises_effect[1]"),
        Column("twin", "nearest atom", ".2f", "Greatest cosine of its atom with another atom.", "nearest_cosine[1]"),
        *(Column(name, name, ".2f", f"{name.capitalize()} score of its explanation.", "") for name in SCORES),
    )
}
"""By key; a key that is not here is refused."""
SHOWN = ("latent", "firing_rate", "max", "effect_kl")
"""Columns always in the list; the one sorted by joins them."""


def text_of(key: str, value: float | None) -> str:
    """Return a value as the list shows it; a dash for none."""
    if value is None or value != value:
        return "\u2013"
    return format(int(value) if COLUMNS[key].form == "d" else value, COLUMNS[key].form)
