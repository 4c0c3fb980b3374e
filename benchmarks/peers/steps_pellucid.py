"""pellucid's own step: one `update` of a Learner with the local objective."""

from __future__ import annotations

import math
from types import SimpleNamespace
from typing import Any, cast

import torch
from task import LEARNING_RATE, Contender, Task, mean_l0
from torch import nn

import pellucid
from pellucid import DictionaryConfig, FitConfig, Host
from pellucid.core.allocator import keep_freed_memory
from pellucid.core.provenance import versions
from pellucid.dictionaries import ARCHITECTURES as KNOWN
from pellucid.dictionaries import make_dictionary
from pellucid.hosts.splice import SharedPass
from pellucid.training.kernels import settle
from pellucid.training.learner import Learner

ARCHITECTURES = {"pellucid": tuple(KNOWN)}
ANY_DEVICE = True


def version() -> str:
    """Return pellucid's version and where it was imported from."""
    return f"pellucid {versions()['pellucid']} ({pellucid.__file__})"


class Nothing(nn.Module):
    """Returns what it is given; its one parameter says where the host is."""

    def __init__(self, device: str) -> None:
        super().__init__()
        self.place = nn.Parameter(torch.zeros((), device=device), requires_grad=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x


def make(name: str, task: Task) -> Contender:
    """Return a Learner of the task's architecture with its defaults."""
    keep_freed_memory()  # as `fit` does
    given = {"k": task.k} if "topk" in task.architecture else {}
    architecture: Any = {"kind": task.architecture, "n_latents": task.latents, **given}
    config = DictionaryConfig(site="0", architecture=architecture, lr=LEARNING_RATE)
    fit = FitConfig(dictionaries={"d": config})
    sample = task.batch(0)[:512].cpu()
    dictionary: Any = make_dictionary(config.architecture, task.width, torch.Generator().manual_seed(0), sample).to(task.device)
    if task.architecture in ("relu", "jumprelu"):
        cut = task.cut(dictionary.preactivations)
        if task.architecture == "relu":
            dictionary.encoder_bias.data -= cut
        else:
            dictionary.log_threshold.data.fill_(math.log(cut))
    host = Host(nn.Sequential(Nothing(task.device)), name="none")
    learner = Learner("d", config, fit, host, dictionary)
    settle([learner], len(task.batch(0)), "auto", {})  # as `fit` does

    def step(i: int) -> None:
        batch = task.batch(i)
        given_rows = SimpleNamespace(rows=lambda _: batch, keep=None)
        learner.update(cast(SharedPass, given_rows), None, LEARNING_RATE, i)

    return Contender(step, lambda: mean_l0(dictionary(task.batch(0)).codes))
