"""One architecture on one bed: its settings trained side by side, tuned, scored."""

from __future__ import annotations

import math
import shutil
import time
from pathlib import Path
from typing import Any

import torch

from pellucid.core.config import build
from pellucid.core.files import read_json, write_json
from pellucid.core.logging import finite
from pellucid.dictionaries import ARCHITECTURES, FiringCounter, inference, load_dictionary
from pellucid.evaluation.bench.beds import EASIEST, Bed
from pellucid.evaluation.bench.scores import agree, host_scores, planted_scores
from pellucid.evaluation.bench.tuning import Setting, config_of, default_setting, first_round, second_round
from pellucid.training import FitConfig, fit


def run_cell(kind: str, bed: Bed, folder: Path) -> dict[str, Any]:
    """Train and score an architecture's settings; write FOLDER/cell.json and return it.

    Three fits: settings of sparsity; other learning rates at the tuned sparsity; other seeds of the setting whose L0 is
    nearest the target. Each sees the same rows in the same order.
    """
    first = first_round(kind, bed)
    extra = [default_setting(kind, bed)] if bed.name == EASIEST else []
    rows = _round(bed, [*first, *extra], folder / "first")
    tried = [(setting.value, row["l0"]) for setting, row in zip(first, rows, strict=False)]
    rest = second_round(kind, bed, tried)
    rows += _round(bed, rest, folder / "second") if rest else []
    settings = [*first, *extra, *rest]
    tuned = [number for number, setting in enumerate(settings) if setting.name != "default"]
    nearest = min(tuned, key=lambda number: abs(math.log(max(rows[number]["l0"], 1e-3) / bed.target_l0)))
    seeds = [_reseeded(settings[nearest], seed) for seed in range(1, bed.seeds)]
    again = _round(bed, seeds, folder / "seeds")
    source = folder / ("first" if nearest < len(first) + len(extra) else "second")
    atoms = [source / "dictionaries" / settings[nearest].name, *(folder / "seeds" / "dictionaries" / s.name for s in seeds)]
    result = {
        "architecture": kind,
        "bed": bed.name,
        "settings": [row | {"setting": setting.name} for setting, row in zip(settings, rows, strict=True)],
        "nearest": settings[nearest].name,
        "seeds": [rows[nearest], *again],
        "stability": agree([_live(path, bed) for path in atoms]),
    }
    write_json(folder / "cell.json", finite(result))
    for name in ("first", "second", "seeds"):
        shutil.rmtree(folder / name, ignore_errors=True)
    return finite(result)


def _round(bed: Bed, settings: list[Setting], run: Path) -> list[dict[str, Any]]:
    """Train settings in one pass and return their scores; those of a finished round are read."""
    kept = run / "scored.json"
    if kept.exists():
        return list(read_json(kept))
    began = time.process_time()
    fit(_fit_config(bed, settings, run), run, host=bed.host, data=bed.data)
    seconds = (time.process_time() - began) / max(1, len(settings))
    dictionaries = {s.name: load_dictionary(run / "dictionaries" / s.name)[0] for s in settings}
    scores = planted_scores(dictionaries, bed) if bed.planted else host_scores(dictionaries, bed)
    rows = [
        {**scores[s.name], "cpu_seconds": round(seconds, 3), "lr": s.lr, "config": s.architecture, "seed": s.seed}
        for s in settings
    ]
    write_json(kept, finite(rows))
    return list(finite(rows))


def _fit_config(bed: Bed, settings: list[Setting], run: Path) -> FitConfig:
    dictionaries = {
        s.name: {
            "site": bed.site,
            "architecture": config_of(s),
            "lr": s.lr,
            "seed": bed.seed + s.seed,
        }
        for s in settings
    }
    values: dict[str, Any] = {
        "dictionaries": dictionaries, "tokens": bed.tokens, "batch_rows": bed.batch_rows, "sample_rows": bed.sample_rows,
        "warmup": 0.02, "sparsity_warmup": 0.1, "final_lr": 0.0, "dead_after": bed.dead_after, "kernels": "plain",
        "log_every": 1_000_000, "keep_checkpoints": 1,
    }  # fmt: skip
    if not bed.planted and not any(ARCHITECTURES[s.architecture["kind"]].guided for s in settings):
        values["store"] = {"folder": str(run.parents[2] / "store")}
    return build(FitConfig, values)


def _reseeded(setting: Setting, seed: int) -> Setting:
    return Setting(f"seed{seed}", setting.architecture, setting.lr, setting.value, seed)


def _live(path: Path, bed: Bed) -> torch.Tensor:
    """Return the atoms that fire on the first held-out rows."""
    dictionary = load_dictionary(path)[0]
    counter = FiringCounter(dictionary.n_latents)
    with torch.no_grad(), inference([dictionary]):
        for rows in bed.held_out:
            counter.update(dictionary(rows).codes)
        return dictionary.atoms()[counter.firings > 0]
