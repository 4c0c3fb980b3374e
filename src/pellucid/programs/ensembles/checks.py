"""How often members are wrong, on sequences that no training step saw."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from pellucid.programs.ensembles.gradients import unroll
from pellucid.programs.ensembles.loss import wrong
from pellucid.programs.ensembles.members import Members
from pellucid.programs.ensembles.sequences import Sequences
from pellucid.programs.networks.base import run
from pellucid.programs.networks.recurrent import RecurrentNetwork

CHUNK = 2048
"""Sequences looked at together."""


@torch.no_grad()
def wrong_sequences(
    members: Members, sequences: Sequences, xs: Int64[Tensor, "n t i"], ys: Int64[Tensor, "n t o"]
) -> Bool[Tensor, "e n"]:
    """Return which sequences have a wrong output at any step, for every member."""
    parts = []
    for at in range(0, len(xs), CHUNK):
        x, y = sequences.scaled(xs[at : at + CHUNK], ys[at : at + CHUNK], members.flat.dtype)
        outputs, _ = unroll(members, x)
        parts.append(wrong(sequences.scaling.outputs(outputs), y).any(1))
    return torch.cat(parts, 1)


def error_rate(members: Members, sequences: Sequences, n: int, length: int) -> Float[Tensor, "e"]:
    """Return the part of up to n fresh sequences with any wrong output, for every member."""
    return wrong_sequences(members, sequences, *sequences.fresh(n, length)).float().mean(1)


def network_errors(network: RecurrentNetwork, sequences: Sequences, n: int, length: int) -> tuple[int, int]:
    """Return how many of up to n fresh sequences have a wrong rounded output, in plain numbers and float64, and n.

    Stops after the first chunk with an error: the count is then of the sequences looked at.
    """
    xs, ys = sequences.fresh(n, length)
    for at in range(0, len(xs), CHUNK):
        outputs = run(network, xs[at : at + CHUNK].double())
        failed = int((~((outputs - ys[at : at + CHUNK]).abs() < 0.5)).any(2).any(1).sum())
        if failed:
            return failed, min(at + CHUNK, len(xs))
    return 0, len(xs)
