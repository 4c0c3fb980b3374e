"""How much memory a fit will want, said before it starts; it is refused, or done in smaller pieces, where there is less."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence

import torch

from pellucid.core import machine
from pellucid.core.errors import ConfigError
from pellucid.core.logging import log
from pellucid.dictionaries.registry import empty_dictionary
from pellucid.hosts import Host
from pellucid.kernels import stock
from pellucid.kernels.sparse import CHUNK_NUMBERS, CHUNK_TOKENS
from pellucid.training.config import FitConfig
from pellucid.training.learner import Learner
from pellucid.training.stacked import Stack

NUMBER = 4
"""Bytes of a float32."""
MIB = 1 << 20
DENSE, OF_TOPK = 6.5, 2.2
"""[positions, latents] tensors of a dense dictionary that exist at once; TopK makes no dense codes. Measured."""
ENTRY = 64
"""Bytes that one kept code of a sparse dictionary takes: token, latent, orders, values and their slopes."""
HEAP = 0.1
"""What the heap takes beside what is asked of it, as a share: pieces too small for the next tensor."""
PIECES = 3
"""Shards of a store in memory while it is written: one filled, one written, and its copy in one piece."""
LEAST_LOGITS_MB = 6
"""Smaller pieces of logits than these cost more time than they save memory."""
MARGIN = 1.05
"""How far a limit may be passed while a fit runs."""
RESERVE = 64 * MIB
"""What must be left of the machine's memory while a fit runs that has no limit of its own."""
EVERY = 1.0
"""Seconds between looks at it."""


def estimate(
    host: Host, learners: Sequence[Learner], positions: int, logits_mb: int, stacks: Sequence[Stack] = ()
) -> dict[str, int]:
    """Return bytes by use at the peak of a fit whose updates see so many positions: `held` is there already.

    optimizer: two moments a weight. gradients: one dictionary's or one stack's at a time (the compiled kernels keep theirs
    by shape), with the normalised atoms of those that have them. captured: rows of sites, twice. splice: what the backward
    pass of the later blocks needs, per block and position four times its input and output widths (measured on gated MLP
    blocks). The largest of three that follow each other: codes, dense or a chunk of pre-activations and what is kept of it;
    readout, five pieces of logits, and the teacher's log-probabilities where dictionaries share them; pass, temporaries of a
    block of the host. store: shards being written and the rows of a batch read ahead. heap: HEAP of all that.
    """
    fit = learners[0].fit
    spliced = [learner for learner in learners if learner.config.starts_runs]
    sites = {learner.site: learner.dictionary.d_in for learner in learners}
    sites |= {site: learner.dictionary.d_out for learner in learners for site in (learner.target, *learner.downstream)}
    fresh = [learner for learner in learners if not learner.optimizer.state]
    rows = sum(sites.values()) * positions * NUMBER
    parts = {
        "optimizer": 2 * NUMBER * sum(_parameters(learner) for learner in fresh),
        "gradients": max([_gradients(learners), *(NUMBER * stack.numbers for stack in stacks)]),
        "captured": 2 * rows,
        "splice": max((_suffix_numbers(host, learner) for learner in spliced), default=0) * positions * NUMBER,
    }
    in_turn = {
        "codes": max([_codes(learner, positions) for learner in learners] + [_stacked(stack, positions) for stack in stacks]),
        "readout": _readout(host, spliced, positions, logits_mb) if spliced else 0,
        "pass": 4 * NUMBER * positions * _widest(host),
    }
    largest = max(in_turn, key=lambda name: in_turn[name])
    parts[largest] = in_turn[largest]
    if fit.store.folder is not None:
        parts["store"] = PIECES * fit.store.shard_mb * MIB + 2 * rows
    return {"held": machine.resident() or 0, **parts, "heap": round(HEAP * sum(parts.values()))}


def _parameters(learner: Learner) -> int:
    return sum(p.numel() for p in learner.dictionary.parameters())


def _gradients(learners: Sequence[Learner]) -> int:
    kept = {tuple(learner.dictionary.decoder.shape) for learner in learners if learner.dictionary.form is not None}
    atoms = max((_normalised(learner) for learner in learners), default=0)
    return NUMBER * max(atoms + max(_parameters(learner) for learner in learners), sum(2 * m * d for m, d in kept))


def _normalised(learner: Learner) -> int:
    """Numbers of atoms that are scaled in every forward, and of their gradient."""
    return 2 * learner.dictionary.decoder.numel() if getattr(learner.dictionary.config, "atom_norm", "") == "unit" else 0


def _codes(learner: Learner, positions: int) -> int:
    """Bytes for pre-activations and codes of one dictionary's turn."""
    dictionary = learner.dictionary
    m, d, k = dictionary.n_latents, dictionary.d_in, getattr(dictionary.config, "k", None)
    chunk = 2 * NUMBER * m * max(1, min(CHUNK_TOKENS, CHUNK_NUMBERS // m, positions))
    if dictionary.form is None or k is None:  # where sparsity is learnt, the first updates are dense
        tensors = OF_TOPK if dictionary.kind == "topk" else DENSE
        return round(tensors * NUMBER * positions * m) + (chunk if dictionary.form is not None else 0)
    gathered = 2 * NUMBER * min(stock.GATHERED, positions * k * d) if dictionary.form is stock else 0
    return chunk + gathered + positions * (ENTRY * k + 6 * NUMBER * d)


def _stacked(stack: Stack, positions: int) -> int:
    """Bytes for pre-activations, codes and rows of a stack's turn."""
    rows = positions * stack.count
    chunk = 2 * NUMBER * stack.latents * min(rows, stack.chunk * stack.count)
    return chunk + rows * (ENTRY * stack.k + 6 * NUMBER * stack.width)


def _readout(host: Host, spliced: Sequence[Learner], positions: int, logits_mb: int) -> int:
    classes = max((p.shape[0] for p in host.module.parameters() if p.ndim > 1), default=1)
    kept = positions * classes * NUMBER if len(spliced) > 1 and positions * classes <= 1 << 28 else 0
    return 5 * min(logits_mb * MIB, positions * classes * NUMBER) + kept


def _widest(host: Host) -> int:
    modules = [host.module.get_submodule(path) for path in host.blocks] or [host.module]
    return max((max(p.shape) for module in modules for p in module.parameters()), default=1)


def _suffix_numbers(host: Host, learner: Learner) -> int:
    """Numbers a position leaves for the backward pass in the blocks after a dictionary's site."""
    block = host.block_of(learner.target)
    paths = host.blocks[block:] if block is not None else host.blocks
    modules = [host.module.get_submodule(path) for path in paths] or [host.module]
    return sum(4 * sum(p.shape[0] for p in module.parameters() if p.ndim > 1) for module in modules)


class Limit:
    """What this process may hold; looked at before a fit and while it runs.

    Without a limit of its own: what it holds at the start and its share of what is then available.
    """

    def __init__(self, fit: FitConfig, device: torch.device) -> None:
        """Raise ConfigError if `memory_limit_mb` is more than the machine has, or less than is held already."""
        self.own = fit.memory_limit_mb is not None
        self._looked = 0.0
        held, most = machine.resident(), machine.total()
        self.known = held is not None and device.type == "cpu"
        held = held or 0
        ranks = max(1, int(os.environ.get("LOCAL_WORLD_SIZE", "1")))
        self.bytes = (fit.memory_limit_mb or 0) * MIB if self.own else held + machine.available() // ranks
        if self.own and self.known and not held < self.bytes <= most:
            raise ConfigError(
                f"memory_limit_mb is {fit.memory_limit_mb}, but this process holds {held / MIB:,.0f} MiB before training and "
                f"the machine has {most / MIB:,.0f}. Wanted a limit between the two, or none."
            )

    def refuse(self, parts: dict[str, int]) -> None:
        """Raise ConfigError if the sum of an estimate is more than the limit."""
        if self.known and (wanted := sum(parts.values())) > self.bytes:
            raise ConfigError(
                f"this fit would hold about {wanted / MIB:,.0f} MiB ({listed(parts)}), more than {self._said()}. Lower "
                f"batch_rows, share the dictionaries out over several fits (a store lets them share the host's runs), or free "
                f"memory."
            )

    def passed(self) -> str | None:
        """Return a sentence if more is held than may be, at most every EVERY seconds; None otherwise."""
        if not self.known or time.monotonic() - self._looked < EVERY:
            return None
        self._looked = time.monotonic()
        held = machine.resident() or 0
        if held > MARGIN * self.bytes:
            return f"this process holds {held / MIB:,.0f} MiB, more than {self._said()}"
        if not self.own and (left := machine.available()) < RESERVE:
            return f"this process holds {held / MIB:,.0f} MiB and only {left / MIB:,.0f} MiB are left on this machine"
        return None

    def _said(self) -> str:
        how = "that memory_limit_mb allows" if self.own else "that are available here"
        return f"the {self.bytes / MIB:,.0f} MiB {how}"


def listed(parts: dict[str, int]) -> str:
    """Return an estimate as text, MiB by use."""
    return ", ".join(f"{name} {size / MIB:,.0f}" for name, size in parts.items())


def stopped(reason: str, step: int, steps: int, logits_mb: int | None) -> str:
    """Return what a fit says that was stopped for its memory; `logits_mb` None if it makes no logits."""
    smaller = f"logits_mb below {logits_mb}, " if logits_mb else ""
    return (
        f"{reason}, after step {step} of {steps}. A checkpoint was written. Run the same command again with {smaller}a "
        f"higher memory_limit_mb or more memory free and it goes on from there; or start with a lower batch_rows or fewer "
        f"dictionaries in another folder."
    )


def announce(
    host: Host, learners: Sequence[Learner], positions: int, limit: Limit, logits_mb: int, stacks: Sequence[Stack] = ()
) -> int:
    """Log the estimate and return the size of a piece of logits in MiB with which the fit fits.

    It is halved from `logits_mb` on as long as that is needed and there are logits. Raises ConfigError if nothing fits.
    """
    size = logits_mb
    parts = estimate(host, learners, positions, size, stacks)
    while limit.known and "readout" in parts and sum(parts.values()) > limit.bytes and size >= 2 * LEAST_LOGITS_MB:
        size //= 2
        parts = estimate(host, learners, positions, size, stacks)
    log.info("memory estimate: %s MiB (%s)", f"{sum(parts.values()) / MIB:,.0f}", listed(parts))
    limit.refuse(parts)
    _warn_of_gpu(host.device, sum(parts.values()) - parts["held"])
    if size < logits_mb:
        log.warning("logits are made in pieces of %d MiB instead of %d, to stay within memory", size, logits_mb)
    return size


def _warn_of_gpu(device: torch.device, wanted: int) -> None:
    """A GPU refuses by itself what it has no room for, but late."""
    if device.type == "cuda" and wanted > (free := torch.cuda.mem_get_info(device)[0]):
        log.warning("the fit adds about %d MiB, but the GPU has %d free; lower batch_rows", wanted // MIB, free // MIB)


def check_weights(fit: FitConfig, widths: Mapping[str, Sequence[int]], limit: Limit) -> None:
    """Raise ConfigError if the dictionaries' weights, moments and one gradient do not fit, before any of them is made.

    `widths` are those of the dictionaries' sites and targets.
    """
    sizes = {}
    for name, (d_in, d_out) in widths.items():
        with torch.device("meta"):
            made = empty_dictionary(fit.dictionaries[name].architecture, d_in, d_out)
        sizes[name] = NUMBER * sum(p.numel() for p in made.parameters())
    parts = {"held": machine.resident() or 0, "weights and optimizer": 3 * sum(sizes.values())}
    limit.refuse(parts | {"gradient": max(sizes.values(), default=0)})
