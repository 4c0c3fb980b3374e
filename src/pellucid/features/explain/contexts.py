"""Stretches of text with a latent's codes: some are shown to an explainer, others are kept back for scoring."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from pydantic import Field

from pellucid.core.config import Config
from pellucid.core.errors import DataError

DECILES = 10


@dataclass(frozen=True, eq=False)
class Context:
    """A stretch of one row of a data source."""

    part: str
    """'train' or 'held_out': which rows of the source."""
    row: int
    """Row in that part."""
    start: int
    """Position of the first token in its row."""
    texts: tuple[str, ...]
    """Text of each token."""
    codes: Float[np.ndarray, " n"]
    """The latent's code at each token; 0 at positions no dictionary sees."""

    @property
    def activation(self) -> float:
        """The greatest code."""
        return float(self.codes.max())

    @property
    def fires(self) -> bool:
        """Whether the latent fires (code > 0) on any token."""
        return bool((self.codes > 0).any())


@dataclass(frozen=True)
class Contexts:
    """Firing and silent contexts of one latent."""

    firing: list[Context]
    """From strong to weak."""
    silent: list[Context]

    @property
    def all(self) -> list[Context]:
        """Every context, firing ones first."""
        return [*self.firing, *self.silent]


@dataclass(frozen=True)
class Evidence:
    """What an explainer of a latent is shown, and what its explanation is scored on."""

    latent: int
    shown: Contexts
    held_out: Contexts
    """Equally many firing and silent contexts."""

    def __post_init__(self) -> None:
        shared = {(c.part, c.row) for c in self.shown.all} & {(c.part, c.row) for c in self.held_out.all}
        assert not shared, f"rows {sorted(shared)} are both shown to the explainer of latent {self.latent} and scored"
        assert len(self.held_out.firing) == len(self.held_out.silent), "as many firing as silent contexts are scored"


class ContextConfig(Config):
    """How text is cut into contexts, and how many of them an explanation is made from and scored on."""

    length: int = Field(32, ge=2)
    """Tokens of a context."""
    shown: int = Field(2000, ge=1)
    """Firing contexts of a latent that an explainer is shown, at most; and as many silent ones."""
    scored: int = Field(100, ge=1)
    """Firing contexts that its explanation is scored on, at most; and as many silent ones."""
    min_firing: int = Field(10, ge=1)
    """Firing contexts, shown and to score on, below which a latent is left out as too rare."""


def cut(
    part: str, texts: Sequence[Sequence[str]], plane: Float[np.ndarray, "rows n"], length: int
) -> tuple[list[Context], list[Context]]:
    """Return the firing and the silent stretches of `length` tokens of all rows; what is left at a row's end is left out."""
    firing: list[Context] = []
    silent: list[Context] = []
    for row, codes in enumerate(plane):
        for start in range(0, len(codes) - length + 1, length):
            context = Context(part, row, start, tuple(texts[row][start : start + length]), codes[start : start + length])
            (firing if context.fires else silent).append(context)
    return firing, silent


def gather(
    latent: int,
    shown: tuple[list[Context], list[Context]],
    scored: tuple[list[Context], list[Context]],
    config: ContextConfig,
    seed: int = 0,
) -> Evidence:
    """Draw a latent's contexts from (firing, silent) stretches to show and to score on, as `cut` returns them.

    Firing contexts are drawn evenly from the deciles of their greatest code (2410.13928: 10 of each), silent ones at random;
    those to score on are equally many of both kinds. The draw depends on seed and latent alone. Raises DataError if there
    are fewer than `min_firing` of any kind.
    """
    found = {"firing": shown[0], "silent": shown[1], "firing held-out": scored[0], "silent held-out": scored[1]}
    short = [f"{len(contexts)} {name}" for name, contexts in found.items() if len(contexts) < config.min_firing]
    if short:
        raise DataError(
            f"latent {latent} has {' and '.join(short)} contexts of {config.length} tokens, wanted {config.min_firing}; "
            f"choose another latent, more rows, or another length"
        )
    generator = np.random.default_rng([seed, latent])
    n = min(config.scored, len(scored[0]), len(scored[1]))
    return Evidence(
        latent,
        Contexts(by_decile(shown[0], config.shown, generator), _some(shown[1], config.shown, generator)),
        Contexts(by_decile(scored[0], n, generator), _some(scored[1], n, generator)),
    )


def _some(contexts: Sequence[Context], n: int, generator: np.random.Generator) -> list[Context]:
    return [contexts[int(i)] for i in sorted(generator.permutation(len(contexts))[:n])]


def by_decile(firing: Sequence[Context], n: int, generator: np.random.Generator) -> list[Context]:
    """Return n contexts, as evenly as they go over the deciles of their activation, from strong to weak; all if fewer."""
    ranked = sorted(firing, key=lambda context: (-context.activation, context.row, context.start))
    if len(ranked) <= n:
        return ranked
    parts = np.array_split(np.arange(len(ranked)), DECILES)
    order = [generator.permutation(part) for part in parts]
    chosen: list[int] = []
    depth = 0
    while len(chosen) < n:
        level = [int(part[depth]) for part in order if depth < len(part)]
        chosen += (
            level if len(chosen) + len(level) <= n else [level[int(i)] for i in np.linspace(0, len(level) - 1, n - len(chosen))]
        )
        depth += 1
    return [ranked[i] for i in sorted(chosen)]
