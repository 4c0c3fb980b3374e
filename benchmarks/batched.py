"""Dictionaries of equal shape: a training step of all as one stacked problem, beside one after the other."""

from __future__ import annotations

import statistics
import time
from types import SimpleNamespace
from typing import Any, cast

import torch
from torch import Tensor, nn

from pellucid import DictionaryConfig, FitConfig, Host, TopKConfig
from pellucid.dictionaries import Dictionary, FiringCounter, make_dictionary
from pellucid.hosts.splice import SharedPass
from pellucid.kernels import compiled
from pellucid.kernels.entries import Entries
from pellucid.kernels.forms import get_form
from pellucid.training.learner import Learner

SHAPES = [
    "256x32x256x8",
    "512x64x256x16",
    "512x64x1024x16",
    "1024x128x1024x16",
    "1024x256x1024x32",
    "2304x576x1024x32",
    "4608x576x1024x32",
]
COUNT = 8
RATE, CLIP = 1e-4, 10.0
CODES = 9 << 20
"""Pre-activations of all dictionaries held at once, as in the kernels for one."""


class Stacked:
    """TopK dictionaries of one shape trained as one problem with block-diagonal codes.

    Row b * n + t of the problem is token t as dictionary b sees it, around its own decoder bias; latent b * m + i is its
    latent i. So one batched product, one selection and one call of each sparse kernel serve all.
    """

    def __init__(self, dictionaries: list[Dictionary], k: int) -> None:
        self.k, self.count = k, len(dictionaries)
        stacks = zip(*(dictionary.parameters() for dictionary in dictionaries), strict=True)
        # [b, m, d], [b, m], [b, m, d], [b, d]
        self.parameters = [torch.stack([each.detach() for each in same]) for same in stacks]
        for parameter in self.parameters:
            parameter.requires_grad_()
        self.latents, self.width = self.parameters[0].shape[1:]
        self.optimizer = torch.optim.Adam(self.parameters, lr=RATE, fused=True)
        self.counter = FiringCounter(self.count * self.latents)

    @torch.no_grad()
    def step(self, x: Tensor) -> list[float]:
        """Train all on a batch [n, d]; return their losses."""
        encoder, encoder_bias, decoder, decoder_bias = self.parameters
        n = len(x)
        centred = x - decoder_bias.unsqueeze(1)  # [b, n, d]
        indices, values = self._largest(centred)
        entries = Entries.of_rows(indices, self.count * self.latents)
        values = values.reshape(-1).relu()
        rows = decoder.view(-1, self.width)
        slope = compiled.decode_rows(entries, values, rows).view(self.count, n, self.width)
        slope += decoder_bias.unsqueeze(1)
        slope -= x
        losses = slope.square().mean((1, 2)).tolist()
        slope *= 2 / (n * self.width)
        flat = slope.view(-1, self.width)
        to_values = compiled.entry_dots(entries, flat, rows).mul_(values > 0)
        to_bias = compiled.latent_totals(entries, to_values).view_as(encoder_bias)
        decoder.grad = compiled.latent_sums(entries, values, flat).view_as(decoder)
        encoder.grad = compiled.latent_sums(entries, to_values, centred.view(-1, self.width)).view_as(encoder)
        encoder_bias.grad = to_bias
        decoder_bias.grad = slope.sum(1) - torch.bmm(to_bias.unsqueeze(1), encoder).squeeze(1)
        self._update(rows)
        self.counter.update_entries(entries, values)
        return losses

    def _largest(self, centred: Tensor) -> tuple[Tensor, Tensor]:
        """Return the k largest of each row of the problem, as latents of the problem, and their values."""
        encoder, encoder_bias = self.parameters[:2]
        n, none = centred.shape[1], encoder_bias.new_zeros(self.latents)
        chunk = max(1, min(n, CODES // (self.count * self.latents)))
        found = []
        for part in centred.split(chunk, dim=1):
            pre = torch.baddbmm(encoder_bias.unsqueeze(1), part, encoder.transpose(1, 2))
            indices, values = compiled.top_rows(pre.view(-1, self.latents), none, self.k)
            found.append((indices.view(self.count, -1, self.k), values.view(self.count, -1, self.k)))
        indices = torch.cat([each for each, _ in found], dim=1)  # [b, n, k]
        indices = indices + (torch.arange(self.count) * self.latents).view(-1, 1, 1)
        return indices.view(-1, self.k), torch.cat([each for _, each in found], dim=1)

    def _update(self, rows: Tensor) -> None:
        """Clip each dictionary's gradient, take the optimizer's step, and keep atoms at unit length."""
        gradients = [cast(Tensor, parameter.grad) for parameter in self.parameters]
        compiled.remove_parallel(gradients[2].view(-1, self.width), rows)
        norms = torch.stack([gradient.flatten(1).norm(dim=1) for gradient in gradients]).norm(dim=0)
        if bool((norms > CLIP).any()):
            scale = (CLIP / (norms + 1e-6)).clamp(max=1.0)
            for gradient in gradients:
                gradient *= scale.view(-1, *[1] * (gradient.ndim - 1))
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        compiled.unit_rows(rows)


def one_by_one(shape: tuple[int, int, int, int], sample: Tensor, form: str) -> list[Learner]:
    """Return the learners of COUNT dictionaries of a shape, seeds 0 and up."""
    latents, width, _, k = shape
    host = Host(nn.Sequential(nn.Identity()), name="none")
    learners = []
    for seed in range(COUNT):
        config = DictionaryConfig(site="0", architecture=TopKConfig(n_latents=latents, k=k), lr=RATE, seed=seed)
        dictionary = make_dictionary(config.architecture, width, torch.Generator().manual_seed(seed), sample)
        fit = FitConfig(dictionaries={"d": config}, clip=CLIP, dead_after=2**40)
        learners.append(Learner("d", config, fit, host, dictionary.train()))
        dictionary.form = get_form(form)
    return learners


def shapes_side_by_side(shapes: list[str], repeats: int) -> list[dict[str, Any]]:
    """Return for each shape the time of a step of all, apart and as one."""
    return [side_by_side(text, repeats) for text in shapes]


def side_by_side(text: str, repeats: int) -> dict[str, Any]:
    """Measure one shape, turn by turn; a turn is as many steps as take about a tenth of a second, at most 50."""
    latents, width, tokens, k = shape = tuple(int(part) for part in text.split("x"))
    x = torch.randn(tokens, width, generator=torch.Generator().manual_seed(0))
    plain, numba = (one_by_one(shape, x, form) for form in ("plain", "numba"))
    stacked = Stacked([learner.dictionary for learner in numba], k)
    batch = cast(SharedPass, SimpleNamespace(rows=lambda _: x, keep=None))
    steps = max(1, min(50, round(2e9 / (COUNT * latents * width * tokens))))

    def separate(learners: list[Learner]) -> None:
        for learner in learners:
            learner.update(batch, None, RATE, 0)

    ways = {"plain": lambda: separate(plain), "numba": lambda: separate(numba), "batched": lambda: stacked.step(x)}
    turns = []
    for _ in range(repeats + 1):
        turn = {}
        for name, work in ways.items():
            start = time.perf_counter()
            for _ in range(steps):
                work()
            turn[name] = (time.perf_counter() - start) / steps
        turns.append(turn)
    turns = turns[1:]  # the first compiles and warms
    seconds = {name: statistics.median(turn[name] for turn in turns) for name in ways}
    apart = "plain" if seconds["plain"] < seconds["numba"] else "numba"
    ratios = [turn[apart] / turn["batched"] for turn in turns]
    return {
        "shape": text, "dictionaries": COUNT, "separate_form": apart, "separate_seconds": seconds[apart],
        "batched_seconds": seconds["batched"], "speedup": statistics.median(ratios),
        "speedup_range": [min(ratios), max(ratios)], "difference": difference(numba, stacked),
    }  # fmt: skip


def difference(learners: list[Learner], stacked: Stacked) -> float:
    """Return the largest relative difference |a - b| / |a| (Frobenius) of a parameter trained both ways."""
    found = []
    for number, learner in enumerate(learners):
        for mine, theirs in zip(learner.dictionary.parameters(), stacked.parameters, strict=True):
            found.append(float((mine - theirs[number]).detach().norm() / mine.detach().norm().clamp_min(1e-12)))
    return max(found)
