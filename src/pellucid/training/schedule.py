"""How the learning rate moves over a fit."""

from __future__ import annotations

import math


def learning_rate(step: int, *, peak: float, warmup: int, total: int, final: float = 0.1) -> float:
    """Return the learning rate of an update: linear warm-up from 0, then a cosine to `final` times the peak.

    step <= warmup: peak * step / warmup; then peak * (final + (1 - final) * (1 + cos(pi t)) / 2) with
    t = (step - warmup) / (total - warmup). Source: Braun et al. 2024, section 3 (warm-up 1,250 of 25,000 updates).
    """
    if step < warmup:
        return peak * step / warmup
    share = min(1.0, (step - warmup) / max(1, total - warmup))
    return peak * (final + (1 - final) * (1 + math.cos(math.pi * share)) / 2)
