"""BatchTopK dictionary: a fixed number of active latents per batch, shared out among its tokens."""

from __future__ import annotations

from typing import ClassVar, Literal

import torch
from jaxtyping import Bool, Float
from pydantic import Field
from torch import Tensor

from pellucid.dictionaries.auxiliary import AuxiliaryConfig, auxiliary_term
from pellucid.dictionaries.base import Forward
from pellucid.dictionaries.sparse import LargestKConfig
from pellucid.dictionaries.unit_atoms import UnitAtomConfig, UnitAtomDictionary
from pellucid.kernels.forms import Form
from pellucid.kernels.sparse import top_of_batch


class LargestOfBatchConfig(LargestKConfig, AuxiliaryConfig, UnitAtomConfig):
    """Settings of architectures that keep the largest pre-activations of a batch."""

    threshold_decay: float = Field(default=0.99, ge=0, lt=1)
    """Decay per batch of the running mean that becomes the threshold of inference; 0 takes the last batch alone."""


class BatchTopKConfig(LargestOfBatchConfig):
    """BatchTopK dictionary: of n tokens together the k * n largest pre-activations survive."""

    kind: Literal["batch_topk"] = "batch_topk"
    """Name of the architecture."""


class BatchTopKDictionary(UnitAtomDictionary):
    """BatchTopK dictionary (Bussmann et al. 2024, arXiv 2412.06410).

        pre = encoder @ (x - decoder_bias) + encoder_bias
        training:   z = the k * n largest of all ReLU(pre) [n, m] of the batch, all others 0
        inference:  z = ReLU(pre) where pre > threshold, else 0
        reconstruction = z @ decoder + decoder_bias
        loss term = the auxiliary term of TopK (`auxiliary_term`)

    Training and inference are the module's own two modes: `train()`, in which a dictionary is made and the trainer
    keeps it, and `eval()`, in which `load_dictionary` returns it. Codes of inference depend on their own row alone.

    `threshold` is the mean of the smallest kept value over the batches seen in training, with weights that fall by
    `threshold_decay` a batch and sum to 1 from the first batch on; the smallest kept value is 0 if fewer than k * n are
    positive. Before any training it is 0. `threshold_weight` = 1 - threshold_decay ^ batches is what the running mean
    needs to go on. Both are buffers: they are in the file, in checkpoints and in warm starts.
    """

    kind = "batch_topk"
    Config: ClassVar[type[LargestOfBatchConfig]] = BatchTopKConfig
    config: LargestOfBatchConfig
    sparse = True
    threshold: Float[Tensor, ""]
    threshold_weight: Float[Tensor, ""]

    def __init__(self, config: LargestOfBatchConfig, d_in: int) -> None:
        super().__init__(config, d_in)
        self.register_buffer("threshold", torch.zeros(()))
        self.register_buffer("threshold_weight", torch.zeros(()))

    def encode(self, x: Float[Tensor, "n d"]) -> Float[Tensor, "n m"]:
        """Return the dense codes by the rule of the current mode; the threshold does not move."""
        return self._codes(self.preactivations(x))[0]

    def forward(self, x: Float[Tensor, "n d"]) -> Forward:
        """Encode and decode x; in training mode the batch counts for the threshold. SiteError if x does not fit."""
        if self.form is not None and self.training and (found := self._sparse(self.form, x)) is not None:
            return found
        pre = self.preactivations(x)
        codes, smallest = self._codes(pre)
        if smallest is not None:
            self._count(smallest)
        return Forward(self.decode(codes), pre, dense=codes)

    def penalty(self, forward: Forward, x: Float[Tensor, "n d"], dead: Bool[Tensor, " m"]) -> dict[str, Tensor]:
        """Return {"auxiliary": aux_coefficient * L_aux}, or nothing if no latent is dead; see `auxiliary_term`."""
        return auxiliary_term(self, forward, x, dead)

    def problems(self) -> list[str]:
        """Return what no training could have left in the buffers."""
        found = [f"'threshold' is {float(self.threshold)}, wanted 0 or more"] if self.threshold < 0 else []
        weight = float(self.threshold_weight)
        return found + ([] if 0 <= weight <= 1 else [f"'threshold_weight' is {weight}, wanted 0 to 1"])

    def _sparse(self, form: Form, x: Float[Tensor, "n d"]) -> Forward | None:
        """Return the pass in training mode; None where the codes are too dense for it."""
        count = self.config.k * len(x)
        found = top_of_batch(form, self.centred(x), self.encoder, self.encoder_bias, count) if len(x) else None
        if found is None:
            return None
        entries, values = found
        self._count(values.min() if len(values) == count else values.new_zeros(()))
        values = self.encoded(form, entries, values, x)
        return Forward(self.reconstructed(form, entries, values), entries=entries, values=values)

    def _codes(self, pre: Float[Tensor, "n m"]) -> tuple[Float[Tensor, "n m"], Float[Tensor, ""] | None]:
        """Return the codes and, where a batch was selected from, its smallest kept value."""
        if not self.training:
            return torch.where(pre > self.threshold, pre.relu(), 0.0), None
        if len(pre) == 0:
            return pre.relu(), None
        return keep_largest_of_batch(pre, self.config.k)

    @torch.no_grad()
    def _count(self, smallest: Float[Tensor, ""]) -> None:
        new = 1 - self.config.threshold_decay
        self.threshold_weight.lerp_(torch.ones_like(self.threshold_weight), new)
        self.threshold += (smallest - self.threshold) * (new / self.threshold_weight)


def keep_largest_of_batch(pre: Float[Tensor, "n m"], k: int) -> tuple[Float[Tensor, "n m"], Float[Tensor, ""]]:
    """Return the dense codes in which the k * n largest of all n * m entries of ReLU(pre) survive, and the smallest of them.

    There are fewer than k * n active latents only if fewer are positive; the smallest kept value is 0 then. Among
    equal values at the edge those of the lower latent survive, and within a latent those of the earlier row: no
    algorithm's habit decides, and only rows equal at the edge in the same latent depend on their order.
    """
    codes = pre.relu()
    count = k * len(codes)
    with torch.no_grad():
        smallest = codes.flatten().topk(count, sorted=False).values.min()
        keep = codes > smallest
        if smallest > 0:
            tied, room = codes == smallest, count - int(keep.sum())
            if int(tied.sum()) > room:
                place = tied.T.flatten().cumsum(dim=0).view(codes.shape[::-1]).T
                tied &= place <= room
            keep |= tied
    return torch.where(keep, codes, 0.0), smallest
