"""Formulas of what a step of a TopK dictionary costs each of many ranks, and the plan for 16 M latents on 64 GPUs.

`benchmarks/scale_model.py` checks them on small cases and prints the plan; docs/scale.md says it in words.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

FLOAT, LONG = 4, 8
"""Bytes of a float32; of an int64 or float64."""


@dataclass(frozen=True)
class Shape:
    """One TopK dictionary and how ranks share it."""

    mode: str
    """'data' or 'latents'."""
    latents: int
    """m, of the whole dictionary."""
    width: int
    """d."""
    tokens: int
    """n, kept positions of a step over all ranks."""
    k: int
    """Active latents a token."""
    ranks: int
    """R."""
    aux_k: int = 0
    """Dead latents in the auxiliary term; 0 while none is dead."""

    @property
    def own_latents(self) -> float:
        """Latents on one rank."""
        return self.latents / self.ranks if self.mode == "latents" else self.latents

    @property
    def own_tokens(self) -> float:
        """Tokens that one rank sees."""
        return self.tokens if self.mode == "latents" else self.tokens / self.ranks

    @property
    def parameters(self) -> float:
        """Parameters on one rank: encoder, decoder and encoder bias by latent, and the decoder bias."""
        return self.own_latents * (2 * self.width + 1) + self.width


def calls(shape: Shape) -> dict[str, list[float]]:
    """Return the payload of every collective call of a step by one rank, sums and gathers apart, in bytes."""
    n, d, m = shape.tokens, shape.width, shape.latents
    if shape.mode == "latents":
        sums = [n * d * FLOAT, LONG, d * FLOAT, LONG, 2 * LONG]  # reconstruction, dead latents, decoder bias, norm, activity
        gathers = [n * shape.k * FLOAT]  # candidates: values only, a rank knows its own indices
        if shape.aux_k:
            sums, gathers = [*sums, n * d * FLOAT], [*gathers, n * shape.aux_k * FLOAT]
        return {"sum": sums, "gather": gathers}
    # terms and loss; the four parameters; firings and ages; L0
    sums = [2 * LONG, m * d * FLOAT, m * FLOAT, m * d * FLOAT, d * FLOAT, m * LONG, m * LONG, LONG]
    if shape.aux_k:
        sums += [(d + 1) * LONG, 2 * LONG, LONG]  # mean and variance of the residual; the term
    return {"sum": sums, "gather": [LONG]}


def wire_bytes(shape: Shape) -> float:
    """Return what one rank sends in a step: rings, 2 (R - 1) / R of a sum's payload and R - 1 times a gather's."""
    found, ranks = calls(shape), shape.ranks
    return 2 * (ranks - 1) / ranks * sum(found["sum"]) + (ranks - 1) * sum(found["gather"])


def memory(shape: Shape, live_codes: float) -> dict[str, float]:
    """Return bytes on one rank by use; `live_codes` counts the [tokens, own latents] floats alive at once."""
    n, m = shape.own_tokens, shape.own_latents
    return {
        "weights": FLOAT * shape.parameters,
        "gradients": FLOAT * shape.parameters,
        "moments": 2 * FLOAT * shape.parameters,
        "activations": 4 * FLOAT * n * shape.width,  # x, x - bias, reconstruction and its gradient
        "codes": live_codes * FLOAT * n * m,
        "candidates": candidates(shape),
    }


def candidates(shape: Shape) -> float:
    """Return bytes of every rank's candidates on one rank: as a list, as one tensor, and a mask."""
    return shape.tokens * max(shape.k, shape.aux_k) * shape.ranks * (2 * FLOAT + 1) if shape.mode == "latents" else 0.0


EAGER_CODES = 8.0
"""Live codes of the eager step, of which small cases measured 6.8 to 9.8."""
ASSUMED = {"tflops": 200.0, "memory_gb_s": 2500.0, "link_gb_s": 40.0, "latency_s": 50e-6, "gpu_gb": 80.0}
"""Of one GPU: products reached (TF32), memory traffic reached, link to other GPUs reached, time to start a call, memory."""


def plan() -> dict[str, Any]:
    """Return the arithmetic of 16 M latents on 64 GPUs; see ASSUMED for what is not arithmetic."""
    shape = Shape("latents", 2**24, 4096, 1024, 64, 64)
    cases: list[tuple[str, dict[str, int], int, float]] = [
        ("eager step", {}, 3, EAGER_CODES),
        ("eager step, aux_k = d / 2 (the default)", {"aux_k": 2048}, 3, EAGER_CODES),
        ("eager step, aux_k = k", {"aux_k": 64}, 3, EAGER_CODES),
        ("sparse backward, codes by blocks", {"tokens": 16384, "aux_k": 64}, 1, 0.05),
    ]
    rows = [_planned(name, Shape(**{**asdict(shape), **changes}), products, live) for name, changes, products, live in cases]
    data = Shape("data", 2**24, 4096, 16384, 64, 64)
    impossible = {"memory_gb": round(sum(memory(data, 0.05).values()) / 1e9), "sent_gb": round(wire_bytes(data) / 1e9)}
    return {"assumed": ASSUMED, "parameters_per_gpu": shape.parameters, "rows": rows, "data_parallel": impossible}


def _planned(name: str, shape: Shape, products: int, live_codes: float) -> dict[str, Any]:
    parts, sent = memory(shape, live_codes), wire_bytes(shape)
    seconds = {
        "products": products * 2 * shape.tokens * shape.width * shape.own_latents / (ASSUMED["tflops"] * 1e12),
        "adam": 7 * FLOAT * shape.parameters / (ASSUMED["memory_gb_s"] * 1e9),
        "codes": 2 * live_codes * FLOAT * shape.tokens * shape.own_latents / (ASSUMED["memory_gb_s"] * 1e9),
        "wire": sent / (ASSUMED["link_gb_s"] * 1e9) + ASSUMED["latency_s"] * sum(map(len, calls(shape).values())),
    }
    return {
        "case": name,
        "tokens": shape.tokens,
        "memory_gb": {use: round(size / 1e9, 2) for use, size in parts.items()},
        "memory_sum_gb": round(sum(parts.values()) / 1e9, 1),
        "sent_gb": round(sent / 1e9, 2),
        "milliseconds": {part: round(1e3 * value, 1) for part, value in seconds.items()},
        "tokens_per_second": round(shape.tokens / sum(seconds.values())),
    }
