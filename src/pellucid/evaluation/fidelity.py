"""What a splice does to the host's output distribution: sums over positions, in float64."""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from pellucid.kernels.divergence import Teacher


class Fidelity:
    """Running sums of KL, cross-entropy and agreement between original and spliced outputs.

    KL and agreement count every kept position; cross-entropy those that have a label.
    """

    def __init__(self) -> None:
        self.n = 0
        self.labelled = 0
        self._kl = self._agree = self._ce_original = self._ce_spliced = 0.0

    @torch.no_grad()
    def update(self, teacher: Teacher, spliced: Float[Tensor, "n d"], labels: Int[Tensor, " n"] | None) -> None:
        """Count the positions of one batch; `labels` -100 means no label."""
        for start in range(0, len(spliced), teacher.chunk):
            stop = min(start + teacher.chunk, len(spliced))
            log_p = teacher.log_probabilities(start)
            logits = teacher.readout(spliced[start:stop])
            log_q = torch.log_softmax(logits.float() if logits.dtype.itemsize < 4 else logits, dim=-1)
            # Rounding can take the KL of equal distributions a hair below its least value.
            kl = torch.linalg.vecdot(log_p.exp(), log_p - log_q).clamp_min(0)
            self._kl += float(kl.sum(dtype=torch.float64))
            self._agree += float((log_p.argmax(-1) == log_q.argmax(-1)).sum())
            self.n += stop - start
            if labels is not None:
                wanted = labels[start:stop]
                self._ce_original += _nll(log_p, wanted)
                self._ce_spliced += _nll(log_q, wanted)
                self.labelled += int((wanted != -100).sum())

    @property
    def kl(self) -> float:
        """mean over positions of sum_v p_v (log p_v - log q_v), p original and q spliced, in nats."""
        return self._kl / self.n

    @property
    def top1_agreement(self) -> float:
        """Share of positions where original and spliced outputs have the same most likely class."""
        return self._agree / self.n

    @property
    def ce_original(self) -> float | None:
        """Mean cross-entropy of the original run against the labels, in nats; None without labels."""
        return self._ce_original / self.labelled if self.labelled else None

    @property
    def ce_spliced(self) -> float | None:
        """Mean cross-entropy of the spliced run against the labels, in nats; None without labels."""
        return self._ce_spliced / self.labelled if self.labelled else None

    def scores(self) -> dict[str, Any]:
        """Return the numbers by name; ce_increase = ce_spliced - ce_original."""
        original, spliced = self.ce_original, self.ce_spliced
        increase = None if original is None or spliced is None else spliced - original
        return {
            "ce_original": original,
            "ce_spliced": spliced,
            "ce_increase": increase,
            "kl": self.kl,
            "top1_agreement": self.top1_agreement,
        }


def recovered(increase: float | None, ablated: float | None) -> float | None:
    """Return 1 - increase / increase under ablation: 1 for a perfect splice, 0 for the ablation itself; None if undefined."""
    if increase is None or ablated is None or ablated == 0:
        return None
    return 1 - increase / ablated


def _nll(log_probabilities: Tensor, labels: Tensor) -> float:
    picked = torch.nn.functional.nll_loss(log_probabilities, labels, ignore_index=-100, reduction="none")
    return float(picked.sum(dtype=torch.float64))
