"""How much of the benchmark is run: the numbers behind --quick, the usual budget and --long."""

from __future__ import annotations

from dataclasses import dataclass

from pellucid.evaluation.bench.options import DictionaryBenchOptions

Refined = tuple[tuple[float, float], ...]


@dataclass(frozen=True, kw_only=True)
class Budget:
    """Steps, settings and scores, the same for every architecture; further fields as those of `Bed`."""

    words: str
    """What the page calls it."""
    easiest_steps: int
    """Steps of 256 planted rows on the easiest regime, where an architecture's defaults are judged."""
    steps: int
    """Steps on the others."""
    planted_lr: float
    planted_refined: Refined
    """Second round on planted data: (multiple of the learning rate, multiple of the target L0)."""
    planted_rows: int
    host_latents: int
    host_tokens: int
    host_batch_rows: int
    host_sample_rows: int
    host_refined: Refined
    host_rows: int
    host_dead_after: int
    guided: bool
    """Whether architectures that need the host's backward pass on every token are run on it."""


FURTHER = ((1.0, 1.0), (2.5, 0.85), (2.5, 1.2))
USUAL = Budget(
    words="the usual budget", easiest_steps=600, steps=400, planted_lr=1e-2, planted_refined=((0.5, 1.0), (2.0, 1.0)),
    planted_rows=4_096, host_latents=576, host_tokens=16_384, host_batch_rows=2, host_sample_rows=8, host_refined=(),
    host_rows=2, host_dead_after=5_000, guided=False,
)  # fmt: skip
QUICK = Budget(
    words="a small budget (--quick): early numbers, not a verdict", easiest_steps=200, steps=150, planted_lr=1e-2,
    planted_refined=((0.5, 1.0), (2.0, 1.0)), planted_rows=4_096, host_latents=576, host_tokens=4_096, host_batch_rows=2,
    host_sample_rows=8, host_refined=(), host_rows=2, host_dead_after=1_500, guided=False,
)  # fmt: skip
LONG = Budget(
    words="the long budget (--long)", easiest_steps=4_000, steps=4_000, planted_lr=2e-3, planted_refined=FURTHER,
    planted_rows=20_000, host_latents=2_304, host_tokens=409_600, host_batch_rows=4, host_sample_rows=32, host_refined=FURTHER,
    host_rows=64, host_dead_after=50_000, guided=True,
)  # fmt: skip


def budget(options: DictionaryBenchOptions) -> Budget:
    """Return the budget that the options ask for."""
    return QUICK if options.quick else LONG if options.long else USUAL
