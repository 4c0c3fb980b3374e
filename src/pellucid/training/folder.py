"""The folder of a run: one config, one writer."""

from __future__ import annotations

import shutil
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pellucid.core import config as configs
from pellucid.core import files
from pellucid.core.config import Config
from pellucid.core.errors import ConfigError, RunError
from pellucid.core.locks import Lock
from pellucid.core.logging import log
from pellucid.training.config import FitConfig

CONFIG = "config.yaml"


def run_config(run: Path) -> FitConfig:
    """Return the config of a run folder; RunError if there is none."""
    path = run / CONFIG
    if not path.is_file():
        raise RunError(f"{run} is not a run folder: it has no {CONFIG}. Make one with 'pellucid fit --out {run}'.")
    return configs.load(FitConfig, path)


@contextmanager
def locked(run: Path) -> Iterator[None]:
    """Hold the run folder; RunError if another process is writing to it."""
    lock = Lock(run)
    if not lock.acquire():
        raise RunError(f"another process is writing to {run}. Wait for it, or choose another folder (--out).")
    try:
        _sweep(run)
        yield
    finally:
        lock.release()


def _sweep(run: Path) -> None:
    """Remove what a killed fit left half-written: nobody else holds the folder, so nobody is writing these."""
    for pattern in (".config.yaml.*", ".provenance.json.*", ".timing.json.*", "checkpoint/.step-*.*", "dictionaries/.*.*"):
        for path in run.glob(pattern):
            shutil.rmtree(path)


def check(run: Path, config: Config, changeable: Collection[str] = ()) -> None:
    """Check that a run folder holds no other config; RunError lists the settings that differ.

    A folder in which nothing was trained yet may be taken over. Settings that are `changeable` may differ; those that the
    version which wrote the folder did not have count as their defaults, which are what it did.
    """
    path = run / CONFIG
    if not path.exists() or not any((run / name).exists() for name in ("checkpoint", "dictionaries", "metrics.jsonl")):
        return
    old, new = flat(_completed(configs.load_yaml(path), type(config))), flat(config.model_dump(mode="json"))
    changed = [key for key in sorted(old.keys() | new.keys()) if old.get(key) != new.get(key)]
    for key in [key for key in changed if key in changeable]:
        log.info("%s goes on with %s %r instead of %r", run, key, new[key], old.get(key))
    changed = [key for key in changed if key not in changeable]
    if changed:
        lines = "\n".join(f"  - {key}: there {old.get(key)!r}, here {new.get(key)!r}" for key in changed[:20])
        raise RunError(f"{run} already holds another config:\n{lines}\nChoose another folder (--out) or remove that one.")


def _completed(values: dict[str, Any], kind: type[Config]) -> dict[str, Any]:
    """Return the settings of a folder with those that are missing; as they are if they are no config of this version."""
    try:
        return configs.build(kind, values).model_dump(mode="json")
    except ConfigError:
        return values


def claim(run: Path, config: Config) -> None:
    """Write the config into a run folder that `check` let pass."""
    files.write_text(run / CONFIG, configs.dump(config))


def flat(value: Any, path: str = "") -> dict[str, Any]:
    """Return nested settings as one mapping, keys joined by dots."""
    if isinstance(value, dict):
        parts = [flat(inner, f"{path}.{name}" if path else str(name)) for name, inner in value.items()]
        return {key: item for part in parts for key, item in part.items()}
    return {path: list(value) if isinstance(value, tuple) else value}
