"""A trained network in a folder, trained at most once for the same data and settings."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from pellucid.core.config import digest
from pellucid.core.errors import FileFormatError
from pellucid.programs.ensembles.config import TrainingConfig
from pellucid.programs.ensembles.fit import Trained, train
from pellucid.programs.networks.files import CONFIG_FILE, load_network, save_network
from pellucid.programs.tasks.base import Task
from pellucid.programs.tasks.examples import Examples

SAMPLE = 256
"""Sequences whose outputs tell one rule from another."""


def data_digest(source: Task | Examples) -> str:
    """Return a sha256 of the domain and of what is to be learned: rows of data, or a rule's outputs on a fixed sample.

    The name is left out: the same rule under another name is the same, another rule under the same name is not.
    """
    if isinstance(source, Examples):
        xs, ys = source.xs, source.ys
    else:
        xs = source.sample(SAMPLE, source.domain.length, torch.Generator().manual_seed(0))
        ys = source.outputs_of(xs)
    found = hashlib.sha256(f"{source.domain}|{tuple(xs.shape)}|{tuple(ys.shape)}".encode())
    for rows in (xs, ys):
        found.update(rows.contiguous().numpy().tobytes())
    return found.hexdigest()


def train_in(
    folder: str | Path,
    source: Task | Examples,
    config: TrainingConfig | None = None,
    progress: Callable[[str], None] | None = None,
) -> Trained:
    """Return what `train` returns, kept in `folder`: a second call with the same data and settings only reads it.

    A network in the folder that was trained on other data or with other settings is replaced. Raises FileFormatError if
    the folder holds a network that cannot be read.
    """
    folder, config = Path(folder), config or TrainingConfig()
    identity = {"data_sha256": data_digest(source), "config_sha256": digest(config)}
    if (folder / CONFIG_FILE).exists():
        network, provenance = load_network(folder)
        if {key: provenance.get(key) for key in identity} == identity:
            return _restored(folder, network, provenance)
    trained = train(source, config, progress)
    record: dict[str, Any] = {
        **identity,
        "config": config.model_dump(mode="json"),
        "method": trained.method,
        "length": trained.length,
        "errors": [[length, wrong, n] for length, (wrong, n) in trained.errors.items()],
        "seconds": trained.seconds,
    }
    save_network(folder, trained.network, record)
    return trained


def _restored(folder: Path, network: Any, provenance: dict[str, Any]) -> Trained:
    try:
        errors = {int(length): (int(wrong), int(n)) for length, wrong, n in provenance["errors"]}
        length, seconds = int(provenance["length"]), float(provenance["seconds"])
        if length not in errors:
            raise KeyError(f"errors at length {length}")
        return Trained(network, str(provenance["method"]), errors, length, seconds)
    except (KeyError, TypeError, ValueError) as error:
        raise FileFormatError(
            f"{folder / CONFIG_FILE}: the record of the training is damaged: {error}. Delete the folder"
        ) from None
