"""Finding the other ranks of a fit that torchrun started."""

from __future__ import annotations

import functools
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from typing import Any

import torch
from torch.distributed import PrefixStore, Store, TCPStore

from pellucid.core.errors import ConfigError, RankError
from pellucid.core.logging import log
from pellucid.core.provenance import versions
from pellucid.training import folder
from pellucid.training.config import FitConfig
from pellucid.training.distributed.alone import Alone
from pellucid.training.distributed.data import DataRanks
from pellucid.training.distributed.latents import LatentRanks
from pellucid.training.distributed.members import Members, agree
from pellucid.training.distributed.ranks import Ranks
from pellucid.training.distributed.sites import SiteRanks
from pellucid.training.distributed.terminated import terminated
from pellucid.training.distributed.wire import Wire

MODES: dict[str, type[Ranks]] = {"data": DataRanks, "latents": LatentRanks, "sites": SiteRanks}
"""`parallel` of a fit -> what its ranks do."""
_joined: list[Alone] = []
_numbers = iter(range(1 << 62))


def world_size() -> int:
    """Return how many processes torchrun started; 1 without it."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def local_device(device: str) -> str:
    """Return this process's device for the `device` of a config: of several ranks on 'cuda', each takes the next GPU."""
    return f"cuda:{os.environ.get('LOCAL_RANK', '0')}" if device == "cuda" and world_size() > 1 else device


@contextmanager
def joined(config: FitConfig) -> Iterator[Alone]:
    """Meet the other ranks of a fit, and part from them at its end; a process by itself is `Alone`.

    Inside another `joined` that one's ranks are used. An error in the body is told to the other ranks, which then end
    with a RankError that names this one. Raises ConfigError if so many ranks cannot share out the fit, RankError if the
    ranks hold different configs or one does not come.
    """
    if _joined or world_size() == 1:
        yield _joined[-1] if _joined else Alone()
        return
    kind = MODES[config.parallel]
    rank, size = _placed()
    members = Members(*_stores(config.rank_timeout), rank, size, config.rank_timeout, _held_at())
    level = log.level
    wire = None
    try:
        agree(members, "config", _settings(config))
        kind.check(config, size)
        wire = Wire(members, torch.device(local_device(config.device)))
        if rank:
            log.setLevel(max(level, logging.WARNING))
        log.info("%d ranks share out %s", size, config.parallel)
        _joined.append(kind(members, wire, config))
        with terminated(members):
            yield _joined[-1]
            members.leave()
    except BaseException as error:
        members.failed(error)
        raise
    finally:
        _joined.clear()
        log.setLevel(level)
        if wire is not None:
            with suppress(RuntimeError):  # a group that broke cannot be ended in order
                wire.close()


def _settings(config: FitConfig) -> dict[str, Any]:
    settings = folder.flat(config.model_dump(mode="json"))
    return {f"config.{key}": value for key, value in settings.items()} | versions()


def _placed() -> tuple[int, int]:
    """Return rank and number of ranks; ConfigError if what torchrun sets is not there."""
    missing = [name for name in ("RANK", "MASTER_ADDR", "MASTER_PORT") if name not in os.environ]
    if missing:
        raise ConfigError(
            f"WORLD_SIZE is {world_size()}, but {', '.join(missing)} is not set. Start the ranks with torchrun, or unset it."
        )
    return int(os.environ["RANK"]), world_size()


def _held_at() -> str:
    """Say who holds the store: torchrun itself, or the first rank where something else started the ranks."""
    return "torchrun's agent" if os.environ.get("TORCHELASTIC_USE_AGENT_STORE") == "True" else "rank 0"


def _stores(timeout: float) -> tuple[Store, Store]:
    """Return two connections to the ranks' store; every fit of a process, and every restart, has keys of its own."""
    keys = f"pellucid/{os.environ.get('TORCHELASTIC_RESTART_COUNT', '0')}/{next(_numbers)}"
    main = _holder(timeout) if _held_at() == "rank 0" and os.environ["RANK"] == "0" else _connection(timeout)
    return PrefixStore(keys, main), PrefixStore(keys, _connection(timeout))


@functools.cache
def _holder(timeout: float) -> Store:
    """Return the store itself, which lives as long as this process."""
    return _connection(timeout, holds=True)


def _connection(timeout: float, holds: bool = False) -> Store:
    address, port = os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"])
    wait = timedelta(seconds=timeout)
    try:
        return TCPStore(address, port, is_master=holds, timeout=wait, wait_for_workers=False)
    except RuntimeError as error:
        rank, action = os.environ["RANK"], "could not open" if holds else "did not find"
        raise RankError(f"rank {rank} {action} the ranks' store at {address}:{port} within {timeout:g} s: {error}") from error
