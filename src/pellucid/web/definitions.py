"""What each number of a score table is, in one sentence; the tables' columns in order."""

from __future__ import annotations

from typing import NamedTuple


class Column(NamedTuple):
    """A column of a score table."""

    key: str
    title: str
    form: str
    """Format specification of the value."""
    definition: str


FIDELITY = (
    Column(
        "ce_increase",
        "CE increase",
        ".4f",
        "Cross-entropy of the labels (for text, the next token) with the dictionary spliced in, minus without, in nats.",
    ),
    Column("ce_original", "CE original", ".4f", "Cross-entropy of the labels under the untouched host, in nats."),
    Column("ce_spliced", "CE spliced", ".4f", "The same with the dictionary's output in the place of the site's value."),
    Column("ce_zero_ablation", "CE zero", ".3f", "The same with zeros in the place of the site's value."),
    Column("ce_mean_ablation", "CE mean", ".3f", "The same with the site's mean value."),
    Column(
        "ce_recovered_vs_zero",
        "recovered vs zero",
        ".2%",
        "(CE zero - CE spliced) / (CE zero - CE original): 100 % is a perfect splice, 0 % no better than zeros.",
    ),
    Column("ce_recovered_vs_mean", "recovered vs mean", ".2%", "The same against the mean: the stricter of the two."),
    Column("kl", "KL", ".4f", "KL(original || spliced) of the output distributions, averaged over positions, in nats."),
    Column("top1_agreement", "top-1 agreement", ".2%", "Share of positions where the most likely output is the same."),
)
SPARSITY = (
    Column("l0", "L0", ".2f", "Mean number of latents that are not zero at a position."),
    Column("alive", "alive", ",.0f", "Latents that fired at least once in the counted positions."),
    Column(
        "alive_tokens",
        "counted over",
        ",.0f",
        "Positions the alive count was taken over; more positions find more alive latents.",
    ),
)
RECONSTRUCTION = (
    Column(
        "fvu",
        "FVU",
        ".4f",
        "Fraction of variance unexplained at the site: squared error / squared distance from the mean. 1 is the mean.",
    ),
    Column(
        "explained_variance",
        "explained variance",
        ".2%",
        "Mean over coordinates of 1 - var(error) / var(value): forgives a constant offset, unlike FVU.",
    ),
    Column("mse", "MSE", ".4g", "Mean squared error per coordinate at the site."),
    Column("norm_ratio", "norm ratio", ".3f", "Mean of |reconstruction| / |original|: below 1 the output is shrunken."),
    Column("tokens", "held-out positions", ",.0f", "Positions these scores are means over, none of them trained on."),
)
TABLES = (("Fidelity", FIDELITY), ("Sparsity", SPARSITY), ("Reconstruction", RECONSTRUCTION))
