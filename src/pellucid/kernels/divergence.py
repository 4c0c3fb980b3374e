"""KL divergence of two output distributions, from features, in chunks of positions.

The [positions, classes] logits and their gradient exist for one chunk at a time: the gradient of the mean KL with
respect to the spliced features is computed together with its value and handed to autograd whole, [positions, d].
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from functools import cache
from types import ModuleType
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import log_softmax

Readout = Callable[[Tensor], Tensor]
"""Turns features [n, d] into logits [n, classes]; a frozen module, or the identity when the features are logits."""

CHUNK_NUMBERS = 24 << 20
"""Logits held at once, about 100 MB in float32. A smaller chunk reads the whole unembedding more often: on two CPU cores
85 rows of 49,152 classes take 1.5 times as long as 512."""

MANY_CLASSES = 1024
"""From this many classes on the compiled rows are worth their compilation."""


def plain_kl(original: Float[Tensor, "n v"], spliced: Float[Tensor, "n v"], reverse: bool = False) -> Float[Tensor, " n"]:
    """Return KL(original || spliced) of each row of logits, in nats; KL(spliced || original) if `reverse`.

    KL(p || q) = sum_v p_v (log p_v - log q_v). Computed in float32 or wider.
    """
    log_p, log_q = (log_softmax(x.float() if x.dtype.itemsize < 4 else x, dim=-1) for x in (original, spliced))
    if reverse:
        log_p, log_q = log_q, log_p
    return (log_p.exp() * (log_p - log_q)).sum(-1)


class Teacher:
    """The original run's output distribution, read out chunk by chunk and kept if several dictionaries share it."""

    def __init__(
        self,
        readout: Readout,
        features: Float[Tensor, "n d"],
        *,
        shared: bool = False,
        limit: int = 1 << 28,
        numbers: int = CHUNK_NUMBERS,
    ) -> None:
        """`shared` keeps the log-probabilities after their first use, if they are at most `limit` numbers (1 GiB).

        `numbers` logits are made at once, or those of one position.
        """
        self.readout = readout
        self.features = features
        with torch.no_grad():
            self.classes = readout(features[:1]).shape[-1]
        self.chunk = max(1, min(len(features), numbers // self.classes))
        keep = shared and len(features) * self.classes <= limit
        self._kept: dict[int, Tensor] | None = {} if keep else None

    @torch.no_grad()
    def log_probabilities(self, start: int) -> Float[Tensor, "c v"]:
        """Return log p for the chunk of positions that begins at `start`."""
        if self._kept is not None and start in self._kept:
            return self._kept[start]
        log_p = _log_softmax(self.readout(self.features[start : start + self.chunk]))
        if self._kept is not None:
            self._kept[start] = log_p
        return log_p


def mean_kl(teacher: Teacher, spliced: Float[Tensor, "n d"], *, reverse: bool = False) -> Float[Tensor, ""]:
    """Return the mean over positions of KL(original || spliced), in nats, differentiable in `spliced`.

    Equals `plain_kl(readout(original), readout(spliced)).mean()`.
    """
    return _MeanKL.apply(spliced, teacher, reverse)


class _MeanKL(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, spliced: Tensor, teacher: Teacher, reverse: bool) -> Tensor:
        n = len(spliced)
        wants_grad = ctx.needs_input_grad[0]
        gradient = torch.empty_like(spliced) if wants_grad else None
        total = torch.zeros((), dtype=torch.float64, device=spliced.device)
        for start in range(0, n, teacher.chunk):
            features = spliced[start : start + teacher.chunk].detach()
            log_p = teacher.log_probabilities(start)
            with torch.set_grad_enabled(wants_grad):
                features.requires_grad_(wants_grad)
                logits = teacher.readout(features)
            kl, slope = _chunk(log_p, logits.detach(), reverse, wants_grad)
            total += kl.sum(dtype=torch.float64)
            if gradient is not None:
                (gradient[start : start + teacher.chunk],) = torch.autograd.grad(logits, features, slope.to(logits.dtype))
        if gradient is not None:
            ctx.save_for_backward(gradient.div_(n))
        return (total / n).float()

    @staticmethod
    def backward(ctx: Any, *upstream: Tensor) -> tuple[Tensor, None, None]:
        (gradient,) = ctx.saved_tensors
        return gradient * upstream[0], None, None


def _chunk(log_p: Tensor, logits: Tensor, reverse: bool, wants_grad: bool) -> tuple[Tensor, Tensor]:
    """Return the KL of each row and its gradient with respect to `logits`.

    Forward: d/dl = q - p. Reverse: d/dl = q (log q - log p - KL).
    """
    if not reverse and (compiled := _compiled(logits)) and log_p.dtype == torch.float32:
        kl, slope = compiled.forward_kl(log_p, logits)
        return kl, slope
    log_q = _log_softmax(logits)
    if reverse:
        q = log_q.exp()
        gap = log_q - log_p
        kl = torch.linalg.vecdot(q, gap)
        return kl, (gap - kl.unsqueeze(-1)).mul_(q) if wants_grad else q
    p = log_p.exp()
    kl = torch.linalg.vecdot(p, log_p - log_q)
    return kl, log_q.exp_().sub_(p) if wants_grad else p


def _log_softmax(logits: Tensor) -> Tensor:
    if compiled := _compiled(logits):
        out: Tensor = compiled.log_softmax(logits)
        return out
    return log_softmax(logits.float() if logits.dtype.itemsize < 4 else logits, dim=-1)


def _compiled(logits: Tensor) -> ModuleType | None:
    """Return the compiled rows where they apply: many classes in float32 on the CPU."""
    applies = logits.device.type == "cpu" and logits.dtype == torch.float32 and logits.shape[-1] >= MANY_CLASSES
    return _compiled_rows() if applies else None


@cache
def _compiled_rows() -> ModuleType | None:
    try:
        return importlib.import_module("pellucid.kernels.compiled_divergence")
    except ImportError:
        return None  # no wheel for this platform: PyTorch's operators do
