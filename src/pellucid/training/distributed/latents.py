"""Each rank holds a part of every dictionary's latents."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from pellucid.dictionaries import Dictionary
from pellucid.training.config import FitConfig
from pellucid.training.distributed.alone import Positions, State, bounds
from pellucid.training.distributed.ranks import Ranks
from pellucid.training.distributed.sharded import SHARDED, SPLIT
from pellucid.training.distributed.trainee import Trainee


class LatentRanks(Ranks):
    """Latents shared out, the same rows on every rank.

    Encoder, decoder, their gradients, Adam's moments and the firing counters exist once over all ranks. A token's
    reconstruction is the sum of the ranks' parts; from there on every rank computes the same bits.
    """

    mode = "latents"

    @classmethod
    def problems(cls, config: FitConfig, size: int) -> list[str]:
        """Return why a dictionary's latents cannot be shared out over so many ranks."""
        few = {name: d.architecture.n_latents for name, d in config.dictionaries.items() if d.architecture.n_latents < size}
        return [f"dictionary '{name}' has {m} latents, which {size} ranks cannot share; wanted {size} or more"
                for name, m in few.items()]  # fmt: skip

    def adopt(self, dictionary: Dictionary) -> Dictionary:
        """Return this rank's latents of a dictionary."""
        return SHARDED[dictionary.kind](dictionary, self.wire)

    def clip(self, dictionary: Dictionary, limit: float) -> Tensor:
        """Scale the whole dictionary's gradient down to norm `limit` if it is longer; return its norm before."""
        squares = {name: _square(value.grad) for name, value in dictionary.named_parameters() if value.grad is not None}
        own = sum((value for name, value in squares.items() if name in SPLIT), torch.zeros((), dtype=torch.float64))
        shared = sum((value for name, value in squares.items() if name not in SPLIT), torch.zeros((), dtype=torch.float64))
        norm = (self.wire.sum(own) + shared).sqrt().float()
        scale = (limit / (norm + 1e-6)).clamp(max=1.0)  # as torch.nn.utils.clip_grad_norm_ has it
        for value in dictionary.parameters():
            if value.grad is not None:
                value.grad.mul_(scale.to(value.device))
        return norm

    def activity(self, dictionary: Dictionary, l0: float, dead: float, positions: Positions) -> dict[str, float]:
        """Return L0 and the share of dead latents over the latents of all ranks, given this rank's."""
        share = dictionary.n_latents / dictionary.config.n_latents
        whole = self.wire.sum(torch.tensor([l0, dead * share], dtype=torch.float64)).tolist()
        return {"l0": whole[0], "dead": whole[1]}

    def on_all(self, dictionary: Dictionary) -> dict[str, Tensor]:
        """Return the parameters without a row per latent."""
        return {name: value for name, value in dictionary.named_parameters() if name not in SPLIT}

    def gather(self, learners: Sequence[Trainee]) -> State | None:
        """Return the state of all learners, latents of all ranks put together, on the rank that writes; None elsewhere."""
        self.check_same(learners)
        tensors: dict[str, Tensor] = {}
        plain: dict[str, Any] = {}
        for learner in learners:
            found, plain[learner.name] = learner.state()
            for key, value in found.items():
                whole = self._whole(value, learner) if _is_split(key, learner) else value
                if whole is not None:
                    tensors[f"{learner.name}/{key}"] = whole
        return (tensors, plain) if self.writes else None

    def _whole(self, value: Tensor, learner: Trainee) -> Tensor | None:
        """Put together a tensor with a row per latent, on rank 0."""
        m = learner.config.architecture.n_latents
        parts = [bounds(m, rank, self.size) for rank in range(1, self.size)]
        sources = [(rank, (part.stop - part.start, *value.shape[1:]), value.dtype) for rank, part in enumerate(parts, start=1)]
        others = self.wire.to_first(value, sources)
        return torch.cat([value.detach().cpu(), *others]) if self.writes else None

    def part(self, tensors: dict[str, Tensor], learner: Trainee) -> dict[str, Tensor]:
        """Return this rank's latents of a learner's saved tensors."""
        rows = bounds(learner.config.architecture.n_latents, self.rank, self.size)
        return {key: value[rows].clone() if _is_split(key, learner) else value for key, value in tensors.items()}


def _square(gradient: Tensor) -> Tensor:
    return gradient.detach().double().square().sum().cpu()


def _is_split(key: str, learner: Trainee) -> bool:
    """True if a tensor of a learner's state has a row per latent."""
    kind, name = key.split(".", 1)
    if kind == "counter":
        return True
    if kind == "adam":
        number, slot = name.split(".")
        name = [name for name, _ in learner.dictionary.named_parameters()][int(number)]
        return name in SPLIT and slot != "step"
    return name in SPLIT
