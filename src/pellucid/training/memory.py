"""How much memory a fit will want, said before it starts."""

from __future__ import annotations

import os
from collections.abc import Sequence

import torch

from pellucid.core.logging import log
from pellucid.hosts import Host
from pellucid.kernels.divergence import CHUNK_NUMBERS
from pellucid.training.learner import Learner

NUMBER = 4
"""Bytes of a float32."""


def estimate(host: Host, learners: Sequence[Learner], positions: int) -> dict[str, int]:
    """Return bytes by use for one update of `positions` positions.

    Host weights as stored. A dictionary: weights, gradient and two moments, plus about five [positions, latents] tensors
    while it is its turn. A splice keeps what the backward pass of the later blocks needs: per block and position about
    four times the block's input and output widths, measured on gated MLP blocks.
    """
    weights = sum(p.numel() * p.element_size() for p in host.module.parameters())
    dictionaries = sum(4 * NUMBER * sum(p.numel() for p in learner.dictionary.parameters()) for learner in learners)
    codes = max(5 * NUMBER * positions * learner.dictionary.n_latents for learner in learners)
    spliced = [learner for learner in learners if learner.objective.splices]
    suffix = max((_suffix_numbers(host, learner) for learner in spliced), default=0) * positions * NUMBER
    captured = sum(learner.dictionary.d_in * (1 + len(learner.downstream)) for learner in learners) * positions * NUMBER
    readout = 5 * NUMBER * CHUNK_NUMBERS if spliced else 0
    return {
        "host": weights,
        "dictionaries": dictionaries,
        "codes": codes,
        "splice": suffix,
        "captured": captured,
        "readout": readout,
    }


def announce(host: Host, learners: Sequence[Learner], positions: int) -> int:
    """Log the estimate and return its sum; a warning if it exceeds what the machine has free."""
    parts = estimate(host, learners, positions)
    total = sum(parts.values())
    listed = ", ".join(f"{name} {size / 2**20:,.0f}" for name, size in parts.items())
    log.info("memory estimate: %s MiB (%s)", f"{total / 2**20:,.0f}", listed)
    if (free := free_bytes(host.device)) is not None and total > free:
        log.warning("that is more than the %s MiB now free; lower batch_rows or split the fit", f"{free / 2**20:,.0f}")
    return total


def free_bytes(device: torch.device) -> int | None:
    """Return how much memory the device has free; None if that cannot be asked."""
    if device.type == "cpu":
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_AVPHYS_PAGES")
    return torch.cuda.mem_get_info(device)[0] if device.type == "cuda" else None


def _suffix_numbers(host: Host, learner: Learner) -> int:
    """Numbers a position leaves for the backward pass in the blocks after a dictionary's site."""
    block = host.block_of(learner.site)
    paths = host.blocks[block:] if block is not None else host.blocks
    modules = [host.module.get_submodule(path) for path in paths] or [host.module]
    return sum(4 * sum(p.shape[0] for p in module.parameters() if p.ndim > 1) for module in modules)
