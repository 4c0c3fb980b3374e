"""The main job, whole: train dictionaries, score them on held-out data, sample their features, write the report."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pellucid.core.logging import log
from pellucid.data import DataSource, load_text
from pellucid.evaluation.run import evaluate_run
from pellucid.features import write_features
from pellucid.features.index import Index, IndexConfig, build_index
from pellucid.hosts import Host
from pellucid.training import FitConfig, run_config
from pellucid.training import fit as train
from pellucid.training.distributed import joined, local_device


def fit(config: FitConfig, out: str | Path, *, host: Host | None = None, data: DataSource | None = None) -> dict[str, Any]:
    """Train, score and report; return the summary, which is also RUN/summary.json, or {} on a rank that is not the first.

    `host` and `data` default to the ones the config names. An unfinished run in `out` is resumed.
    Raises what `pellucid.training.fit` raises.
    """
    run = Path(out)
    with joined(config) as group:
        if host is None:
            host = Host.load(config.host, device=local_device(config.device), dtype=config.dtype)
        if data is None:
            data = load_text(config.data, host.tokenizer)
        train(config, run, host=host, data=data)
    return score_and_report(run, config, host, data) if group.writes else {}


def evaluate(
    run: str | Path, *, rows: int | None = None, host: Host | None = None, data: DataSource | None = None
) -> dict[str, Any]:
    """Score a finished run again, on `rows` held-out rows (default: as its config says); return the summary."""
    run = Path(run)
    config = run_config(run)
    if host is None:
        host = Host.load(config.host, device=config.device, dtype=config.dtype)
    if data is None:
        data = load_text(config.data, host.tokenizer)
    return score_and_report(run, config, host, data, rows)


def index(
    run: str | Path,
    config: IndexConfig | None = None,
    *,
    replace: bool = False,
    host: Host | None = None,
    data: DataSource | None = None,
) -> Index:
    """Index the features of a finished run into RUN/index; `replace` makes one anew. Raises what `build_index` raises."""
    run = Path(run)
    trained = run_config(run)
    if host is None:
        host = Host.load(trained.host, device=trained.device, dtype=trained.dtype)
    if data is None:
        data = load_text(trained.data, host.tokenizer)
    return build_index(run, host, data, config, replace=replace)


def score_and_report(run: Path, config: FitConfig, host: Host, data: DataSource, rows: int | None = None) -> dict[str, Any]:
    """Score a trained run, sample its features and write its report; return the summary."""
    from pellucid.web import write_report

    wanted = config.evaluation
    n_rows = min(rows or wanted.rows, data.n_held_out)
    summary = evaluate_run(run, host, data, rows=n_rows, batch_rows=wanted.batch_rows)
    if wanted.features:
        write_features(run, host, data, n_features=wanted.features, rows=n_rows)
    log.info("report: %s", write_report(run))
    return summary
