"""Dictionaries of equal shape: a training step of all as one stacked problem, beside one after the other."""

from __future__ import annotations

import statistics
import time
from types import SimpleNamespace
from typing import Any, cast

import torch
from torch import Tensor, nn

from pellucid import DictionaryConfig, FitConfig, Host, TopKConfig
from pellucid.dictionaries import make_dictionary
from pellucid.hosts.splice import SharedPass
from pellucid.kernels.forms import get_form
from pellucid.training.learner import Learner
from pellucid.training.stacked import Stack

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


def one_by_one(shape: tuple[int, int, int, int], sample: Tensor, form: str) -> list[Learner]:
    """Return the learners of COUNT dictionaries of a shape, seeds 0 and up."""
    latents, width, _, k = shape
    host = Host(nn.Sequential(nn.Identity()), name="none")
    learners = []
    for seed in range(COUNT):
        config = DictionaryConfig(site="0", architecture=TopKConfig(n_latents=latents, k=k), lr=RATE, seed=seed)
        dictionary = make_dictionary(config.architecture, width, torch.Generator().manual_seed(seed), sample)
        fit = FitConfig(dictionaries={"d": config}, clip=CLIP, dead_after=2**40)
        learners.append(Learner(f"d{seed}", config, fit, host, dictionary.train()))
        dictionary.form = get_form(form)
    return learners


def shapes_side_by_side(shapes: list[str], repeats: int) -> list[dict[str, Any]]:
    """Return for each shape the time of a step of all, apart and as one."""
    return [side_by_side(text, repeats) for text in shapes]


def side_by_side(text: str, repeats: int) -> dict[str, Any]:
    """Measure one shape, turn by turn; a turn is as many steps as take about a tenth of a second, at most 50."""
    shape = latents, width, tokens, _ = tuple(int(part) for part in text.split("x"))
    x = torch.randn(tokens, width, generator=torch.Generator().manual_seed(0))
    plain, numba, members = (one_by_one(shape, x, form) for form in ("plain", "numba", "numba"))
    stack = Stack(members)
    batch = cast(SharedPass, SimpleNamespace(rows=lambda _: x, keep=None))
    steps = max(1, min(50, round(2e9 / (COUNT * latents * width * tokens))))

    def separate(learners: list[Learner]) -> None:
        for learner in learners:
            learner.update(batch, None, RATE, 0)

    ways = {"plain": lambda: separate(plain), "numba": lambda: separate(numba), "stacked": lambda: stack.update(batch, RATE, 0)}
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
    ratios = [turn[apart] / turn["stacked"] for turn in turns]
    return {
        "shape": text, "dictionaries": COUNT, "separate_form": apart, "separate_seconds": seconds[apart],
        "stacked_seconds": seconds["stacked"], "speedup": statistics.median(ratios),
        "speedup_range": [min(ratios), max(ratios)], "difference": difference(numba, members),
    }  # fmt: skip


def difference(apart: list[Learner], stacked: list[Learner]) -> float:
    """Return the largest relative difference |a - b| / |a| (Frobenius) of a parameter trained both ways."""
    found = []
    for one, other in zip(apart, stacked, strict=True):
        for mine, theirs in zip(one.dictionary.parameters(), other.dictionary.parameters(), strict=True):
            found.append(float((mine - theirs).detach().norm() / mine.detach().norm().clamp_min(1e-12)))
    return max(found)
