"""Dictionaries of one shape whose updates are made together, as one stacked problem."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from pellucid.dictionaries import TopKConfig
from pellucid.dictionaries.topk import TopKDictionary
from pellucid.hosts.splice import SharedPass
from pellucid.kernels.entries import Entries
from pellucid.kernels.forms import get_form
from pellucid.kernels.sparse import CHUNK_NUMBERS
from pellucid.training.learner import Learner, find_non_finite
from pellucid.training.objectives import Local
from pellucid.training.spikes import SpikeError

FORM = "numba"
"""The sparse kernels that stacks are made of."""


def alike(learner: Learner) -> tuple[Any, ...] | None:
    """Return what learners that can be stacked have in common; None for one that has to be updated by itself.

    Stacked are TopK dictionaries of float32 on the CPU with the objective `local`, at any sites of one width, where one
    process trains and faulty updates stop the fit.
    """
    dictionary, config = learner.dictionary, learner.config
    if (
        not isinstance(dictionary, TopKDictionary)
        or type(learner.objective) is not Local
        or learner.place.apart
        or config.guided
    ):
        return None
    if learner.group.mode != "alone" or learner.watch.drops or dictionary.weight_decay:
        return None
    if dictionary.encoder.device.type != "cpu" or dictionary.dtype != torch.float32:
        return None
    return dictionary.n_latents, dictionary.d_in, dictionary.config.k, config.lr


class Stack:
    """TopK dictionaries of one shape, trained as one problem with block-diagonal codes.

    Row b * n + t of the problem is token t as dictionary b sees it, around its own decoder bias; latent b * m + i is its
    latent i. One batched product, one selection and one call of each sparse kernel serve all. With g the slope of the mean
    squared error at the reconstruction, z the codes and e = g . atom where z > 0, the gradients are

        decoder = z^T g    encoder = e^T (x - decoder_bias)    encoder_bias = sum e    decoder_bias = sum g - sum e @ encoder

    The learners' weights and Adam moments become views of the stack's, so each of them can still be updated, saved and
    read by itself. Sums are those of `Learner.update` but for the order within the encoder's product and the norms.
    """

    def __init__(self, learners: Sequence[Learner]) -> None:
        form = get_form(FORM)
        assert form is not None
        self.learners, self.form, self.count = list(learners), form, len(learners)
        first, config = learners[0], learners[0].dictionary.config
        assert isinstance(config, TopKConfig)
        self.k, self.latents, self.width = config.k, first.dictionary.n_latents, first.dictionary.d_in
        self.names = ("encoder", "encoder_bias", "decoder", "decoder_bias")
        self.parameters = [self._stacked(name) for name in self.names]
        self.steps: list[Tensor] = []
        self.optimizer = torch.optim.Adam(self.parameters, lr=first.config.lr, betas=first.fit.betas, fused=True)
        for name, parameter in zip(self.names, self.parameters, strict=True):
            self.optimizer.state[parameter] = self._moments(name)

    @property
    def numbers(self) -> int:
        """Weights of all its dictionaries."""
        return sum(parameter.numel() for parameter in self.parameters)

    @property
    def chunk(self) -> int:
        """Tokens whose pre-activations are made at once."""
        return max(1, CHUNK_NUMBERS // 2 // (self.count * self.latents))

    def _own(self, name: str) -> list[Tensor]:
        return [getattr(learner.dictionary, name) for learner in self.learners]

    def _stacked(self, name: str) -> Tensor:
        """Stack the learners' parameters of a name and make theirs views of the stack."""
        whole = torch.stack([each.detach() for each in self._own(name)])
        for part, each in zip(whole, self._own(name), strict=True):
            each.data = part
        return whole.requires_grad_()

    def _moments(self, name: str) -> dict[str, Tensor]:
        """Return Adam's state of a stacked parameter, of which the learners' states become views."""
        slots = [learner.optimizer.state[own] for learner, own in zip(self.learners, self._own(name), strict=True)]
        fresh = {"step": torch.zeros(()), "exp_avg": torch.zeros_like(self._own(name)[0]).detach()}
        fresh["exp_avg_sq"] = fresh["exp_avg"]
        found = {key: torch.stack([slot.get(key, start) for slot in slots]) for key, start in fresh.items()}
        for key, whole in found.items():
            for part, slot in zip(whole, slots, strict=True):
                slot[key] = part
        self.steps.append(found["step"])
        return found | {"step": found["step"][0].clone()}

    @torch.no_grad()
    def update(self, shared: SharedPass, lr: float, step: int, progress: float = 1.0) -> dict[str, dict[str, Any]]:
        """Take one optimizer step of every dictionary on a batch; return what `Learner.update` returns, by name.

        Returns nothing, and has changed nothing, where a dictionary needs its own update: it has dead latents to revive, or
        its numbers are faulty, which its own update then says.
        """
        for learner in self.learners:
            learner.dictionary.begin_step(progress)
        if any(bool(learner.counter.dead(learner.fit.dead_after).any()) for learner in self.learners):
            return {}
        rows = {learner.site: shared.rows(learner.site).float() for learner in self.learners}
        positions = [self._finite(rows[learner.site], learner, shared, step) for learner in self.learners]
        if not all(positions):
            return {}
        x = torch.stack([rows[learner.site] for learner in self.learners])
        entries, values, losses = self._gradients(x)
        norms = self._norms()
        if self._faulty(losses, norms, step):
            self.optimizer.zero_grad(set_to_none=True)
            return {}
        self._descend(norms, lr)
        active = self._count(entries, values)
        return {
            learner.name: {"loss": loss, "mse": loss, "l0": kept / positions[0], "dead": 0.0, "lr": lr, "grad_norm": norm}
            for learner, loss, kept, norm in zip(self.learners, losses, active, norms.tolist(), strict=True)
        }

    def _finite(self, rows: Tensor, learner: Learner, shared: SharedPass, step: int) -> int:
        """Return how many rows there are; 0 if one of them is not finite."""
        return 0 if find_non_finite(rows, learner.site, step, shared.keep, len(rows)) else len(rows)

    def _gradients(self, x: Float[Tensor, "b n d"]) -> tuple[Entries, Float[Tensor, " e"], list[float]]:
        """Set the gradients of a batch; return the codes of the problem and each dictionary's loss."""
        encoder, encoder_bias, decoder, decoder_bias = self.parameters
        n, atoms = x.shape[1], decoder.view(-1, self.width)
        centred = x - decoder_bias.unsqueeze(1)
        indices, values = self._largest(centred)
        entries = Entries.of_rows(indices, self.count * self.latents)
        slope = self.form.decode_rows(entries, values, atoms).view(self.count, n, self.width)
        slope += decoder_bias.unsqueeze(1)
        slope -= x
        losses = slope.square().mean((1, 2)).tolist()
        slope *= 2 / (n * self.width)
        flat = slope.view(-1, self.width)
        to_values = self.form.entry_dots(entries, flat, atoms).mul_(values > 0)
        encoder_bias.grad = self.form.latent_totals(entries, to_values).view_as(encoder_bias)
        decoder.grad = self.form.latent_sums(entries, values, flat).view_as(decoder)
        encoder.grad = self.form.latent_sums(entries, to_values, centred.view(-1, self.width)).view_as(encoder)
        decoder_bias.grad = slope.sum(1) - torch.bmm(encoder_bias.grad.unsqueeze(1), encoder).squeeze(1)
        self.form.remove_parallel(decoder.grad.view(-1, self.width), atoms)
        return entries, values, losses

    def _largest(self, centred: Float[Tensor, "b n d"]) -> tuple[Tensor, Float[Tensor, " e"]]:
        """Return the k largest of each row of the problem, as latents of the problem [b * n, k], and their codes."""
        encoder, encoder_bias = self.parameters[:2]
        none = encoder_bias.new_zeros(self.latents)
        found = []
        for part in centred.split(self.chunk, dim=1):
            pre = torch.baddbmm(encoder_bias.unsqueeze(1), part, encoder.transpose(1, 2))
            indices, values = self.form.top_rows(pre.view(-1, self.latents), none, self.k)
            found.append((indices.view(self.count, -1, self.k), values.view(self.count, -1, self.k)))
        indices, values = (torch.cat(parts, dim=1) for parts in zip(*found, strict=True))
        firsts = torch.arange(self.count).view(-1, 1, 1) * self.latents
        return (indices + firsts).view(-1, self.k), values.reshape(-1).relu()

    def _norms(self) -> Float[Tensor, " b"]:
        return torch.stack([p.grad.flatten(1).norm(dim=1) for p in self.parameters if p.grad is not None]).norm(dim=0)

    def _faulty(self, losses: list[float], norms: Tensor, step: int) -> bool:
        """True if a loss or gradient is faulty; see `SpikeConfig`."""
        try:
            for learner, loss, norm in zip(self.learners, losses, norms.tolist(), strict=True):
                learner.watch.check("loss", loss, step)
                learner.watch.check("gradient", norm, step)
        except SpikeError:
            return True  # the dictionary's own update finds it again and says what it is
        for learner, loss, norm in zip(self.learners, losses, norms.tolist(), strict=True):
            learner.watch.accept(loss, norm)
        return False

    def _descend(self, norms: Float[Tensor, " b"], lr: float) -> None:
        """Clip each dictionary's gradient, take the optimizer's step and keep atoms at unit length."""
        limit = self.learners[0].fit.clip
        if bool((norms + 1e-6 > limit).any()):
            scale = (limit / (norms + 1e-6)).clamp(max=1.0)
            for parameter in self.parameters:
                assert parameter.grad is not None
                parameter.grad *= scale.view(-1, *[1] * (parameter.ndim - 1))
        for parameter, steps in zip(self.parameters, self.steps, strict=True):  # updates by themselves may have come between
            self.optimizer.state[parameter]["step"].copy_(steps[0])
            steps += 1
        self.optimizer.param_groups[0]["lr"] = lr
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        self.form.unit_rows(self.parameters[2].view(-1, self.width))

    def _count(self, entries: Entries, values: Float[Tensor, " e"]) -> list[int]:
        """Count the firings of every dictionary; return how many codes of each are positive."""
        fired, n = values > 0, entries.n_tokens // self.count
        places = torch.where(fired, entries.tokens % n + 1, 0)
        last = places.new_zeros(entries.n_latents).scatter_reduce_(0, entries.latents, places, "amax")
        firings = torch.zeros_like(last).scatter_add_(0, entries.latents, fired.long())
        for learner, when, often in zip(self.learners, last.view(self.count, -1), firings.view(self.count, -1), strict=True):
            learner.counter.count(n, when, often)
        return firings.view(self.count, -1).sum(1).tolist()
