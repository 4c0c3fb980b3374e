"""Score a finished run: scores.json and summary.json."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pellucid.core import files
from pellucid.core.errors import RunError
from pellucid.core.logging import finite
from pellucid.core.provenance import versions
from pellucid.data import DataSource
from pellucid.dictionaries import Dictionary, load_dictionary
from pellucid.evaluation.evaluate import check_host, evaluate
from pellucid.evaluation.run_rows import SETTINGS
from pellucid.hosts import Host, Site


def load_run(run: Path, host: Host) -> tuple[dict[str, tuple[Dictionary, Site]], dict[str, dict[str, Any]]]:
    """Return the run's dictionaries with their sites in `host`, and their headers, both by name.

    Warns (HostMismatchWarning) of each that was trained on other weights. RunError if the run holds no dictionary.
    """
    folders = sorted((run / "dictionaries").glob("*/config.json"))
    if not folders:
        raise RunError(f"{run} holds no finished dictionary. Train one with 'pellucid fit --out {run}'.")
    dictionaries, headers = {}, {}
    for path in folders:
        dictionary, header = load_dictionary(path.parent, host.device)
        site = host.site(header["site"])
        check_host(host, header, site)
        dictionaries[path.parent.name], headers[path.parent.name] = (dictionary, site), header
    return dictionaries, headers


def run_targets(host: Host, headers: Mapping[str, Mapping[str, Any]]) -> dict[str, Site]:
    """Return by name the sites that dictionaries write, of those that write another site than they read."""
    return {name: host.site(header["target"]) for name, header in headers.items() if header.get("target") is not None}


def evaluate_run(run: Path, host: Host, data: DataSource, *, rows: int | None = None, batch_rows: int = 8) -> dict[str, Any]:
    """Score every dictionary of a run on held-out data; write scores.json and summary.json and return the summary."""
    dictionaries, headers = load_run(run, host)
    targets = run_targets(host, headers)
    scores = evaluate(host, dictionaries, data, targets=targets, rows=rows, batch_rows=batch_rows)
    files.write_json(run / "scores.json", finite(scores))
    described = data.describe()
    summary = {
        "host": host.name,
        "data": described,
        "excluded": described.get("excluded", "none"),
        "held_out_positions": max(score["tokens"] for score in scores.values()),
        "dictionaries": [_row(name, headers[name], scores[name]) for name in dictionaries],
        "versions": versions(),
    }
    if (run / "timing.json").exists():  # runs of version 0.1 have none
        summary["timing"] = files.read_json(run / "timing.json")
    files.write_json(run / "summary.json", finite(summary))
    return finite(summary)


def _row(name: str, header: dict[str, Any], scores: dict[str, Any]) -> dict[str, Any]:
    architecture = header["architecture"]
    sparsity = architecture.get("l1", architecture.get("l0_coefficient"))
    fixed = {key: architecture[key] for key in SETTINGS if architecture.get(key) is not None}
    setting = fixed or {"sparsity": sparsity}
    keys = ("l0", "ce_original", "ce_increase", "kl", "alive", "alive_definition", "fvu", "explained_variance", "mse",
            "norm_ratio", "top1_agreement", "ce_recovered_vs_zero", "ce_recovered_vs_mean", "downstream_mse")  # fmt: skip
    return {
        "name": name,
        "objective": header["objective"]["kind"],
        "architecture": architecture["kind"],
        "site": header["site"],
        **({"target": header["target"]} if header.get("target") is not None else {}),
        "n_latents": architecture["n_latents"],
        **setting,
        "tokens": header["tokens"],
        "warm_start_tokens": header["provenance"].get("warm_start_tokens", 0),
        "held_out_tokens": scores["tokens"],
        "seconds": header["provenance"].get("seconds"),
        **{key: scores[key] for key in keys},
    }
