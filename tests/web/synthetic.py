"""A run folder with an index of any size, made of planted numbers: for tests of the explorer and for its benchmark."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pellucid.features.index.schema import BINS, EXAMPLES, FORMAT, LATENTS, NEIGHBOURS, QUANTILES, TOKENS, VERSION

WORDS = (
    "the",
    " def",
    " self",
    " return",
    "(",
    ")",
    ":",
    "\n",
    " import",
    " os",
    " path",
    " list",
    " of",
    " file",
    " name",
    ".",
)
HELD_OUT, CONTEXT = 400, 64
GROUP = 4096
"""Latents of a row group."""


def write_run(
    run: Path,
    names: Sequence[str] = ("local", "e2e"),
    n_latents: int = 60,
    *,
    window: int = 12,
    per_quantile: int = 2,
    quantiles: Sequence[int] = tuple(range(11)),
    words: Sequence[str] = WORDS,
    sites: Sequence[str] = ("layers.1",),
    explained: float = 0.5,
    hashes: dict[str, str] | None = None,
    seed: int = 0,
) -> Path:
    """Write summary, scores, index and explanations of a run; return its folder.

    Latent i of every dictionary peaks on word i % len(words); its firing rate falls with i, and every ninth latent never
    fires. `hashes` are the weights' hashes the manifest states, by dictionary.
    """
    rng = np.random.default_rng(seed)
    vocabulary = [*words, *(f" w{i}" for i in range(500))]
    # Three of four tokens are `words`, so that each of them is found in many windows.
    common = rng.random((HELD_OUT, CONTEXT)) < 0.75
    text = np.where(common, rng.integers(0, len(words), common.shape), rng.integers(0, len(vocabulary), common.shape))
    text = text.astype(np.int32)
    index = run / "index"
    described = {}
    for i, name in enumerate(names):
        (index / name).mkdir(parents=True)
        described[name] = {
            "site": sites[i % len(sites)], "n_latents": n_latents, "weights_sha256": (hashes or {}).get(name, "0" * 64),
            "no_effects": "", "cofiring_positions": 1000,
        }  # fmt: skip
        with pq.ParquetWriter(index / name / "latents.parquet", LATENTS) as latents:
            for start in range(0, n_latents, GROUP):
                latents.write_table(_latents(start, min(start + GROUP, n_latents), n_latents, vocabulary, rng))
        with pq.ParquetWriter(index / name / "examples.parquet", EXAMPLES) as examples:
            for start in range(0, n_latents, GROUP):
                stop = min(start + GROUP, n_latents)
                examples.write_table(_examples(start, stop, text, vocabulary, len(words), window, per_quantile, quantiles, rng))
        if explained:
            _explanations(run / "explanations" / name / "pattern.parquet", n_latents, vocabulary, explained, rng)
    manifest = {
        "format": FORMAT, "version": VERSION, "finished": True, "settings": {"seed": seed}, "held_out_rows": HELD_OUT,
        "host": {"name": "tiny"}, "data": {"digest": "d" * 64, "source": "made here"}, "first_row": 0, "rows": HELD_OUT,
        "context": CONTEXT, "tokens": HELD_OUT * CONTEXT, "dictionaries": described, "versions": {},
    }  # fmt: skip
    (index / "manifest.json").write_text(json.dumps(manifest))
    _summary(run, described)
    return run


def _latents(start: int, stop: int, total: int, vocabulary: Sequence[str], rng: np.random.Generator) -> pa.Table:
    n = stop - start
    number = np.arange(start, stop)
    fires = number % 9 != 8
    rate = np.where(fires, 0.2 / (1 + number % 997), 0).astype(np.float32)
    top = np.where(fires, 1 + rng.random(n) * 30, 0).astype(np.float32)
    quantiles = np.linspace(0.05, 1, QUANTILES, dtype=np.float32)[None] * top[:, None]
    histogram = (1000 * np.exp(-np.arange(BINS) / 4)[None] * rng.random((n, BINS))).astype(np.int32)
    sampled = fires & (number % 3 == 0)
    words = pa.array(vocabulary)

    def texts() -> pa.Array:
        return words.take(pa.array(rng.integers(0, len(vocabulary), n * TOKENS)))

    effects = np.sort(rng.random((n, TOKENS)).astype(np.float32), axis=1)[:, ::-1]
    near = np.sort(rng.random((n, NEIGHBOURS)).astype(np.float32), axis=1)[:, ::-1]
    columns: dict[str, Any] = {
        "latent": number.astype(np.int32), "firings": (rate * 1e6).astype(np.int64), "firing_rate": rate,
        "mean": top / 2, "max": top, "quantiles": _rows(quantiles, fires), "histogram": _rows(histogram, fires),
        "raises": _even(texts(), TOKENS), "raises_effect": _even(effects.ravel(), TOKENS),
        "lowers": _even(texts(), TOKENS), "lowers_effect": _even(-effects.ravel(), TOKENS),
        "cofiring": _even(rng.integers(0, total, n * NEIGHBOURS, dtype=np.int32), NEIGHBOURS),
        "cofiring_score": _even(near.ravel(), NEIGHBOURS),
        "nearest": _even(rng.integers(0, total, n * NEIGHBOURS, dtype=np.int32), NEIGHBOURS),
        "nearest_cosine": _even(near.ravel(), NEIGHBOURS),
        "effect_kl": pa.array(rng.random(n).astype(np.float32), mask=~sampled),
        "effect_ce": pa.array((rng.random(n) - 0.3).astype(np.float32), mask=~sampled),
        "effect_positions": np.where(sampled, 32, 0).astype(np.int32),
    }  # fmt: skip
    return pa.table([pa.array(columns[field.name]).cast(field.type) for field in LATENTS], schema=LATENTS)


def _examples(start, stop, text, vocabulary, n_words, window, per_quantile, quantiles, rng) -> pa.Table:
    latents = np.array([i for i in range(start, stop) if i % 9 != 8], dtype=np.int32)
    n = len(latents) * len(quantiles) * per_quantile
    latent = latents.repeat(len(quantiles) * per_quantile)
    quantile = np.tile(np.repeat(np.array(quantiles, dtype=np.int8), per_quantile), len(latents))
    at = window * 2 // 3
    # Places at which the text has the word of the latent: one window has one text, whoever shows it.
    inside = text[:, at : CONTEXT - window + at].ravel()
    places = np.argsort(inside, kind="stable")
    low, high = (np.searchsorted(inside[places], latent % n_words, side) for side in ("left", "right"))
    row, first = np.divmod(places[rng.integers(low, high)], CONTEXT - window)
    tokens = text[row[:, None], first[:, None] + np.arange(window)]
    peak = (1 + 30 * np.where(quantile == 0, 1.0, quantile / 11)).astype(np.float32)
    codes = np.where(rng.random(tokens.shape) < 0.1, 0.5, 0).astype(np.float32)
    codes[:, at] = peak
    columns = {
        "latent": latent, "quantile": quantile, "rank": np.tile(np.arange(per_quantile, dtype=np.int16), n // per_quantile),
        "row": row, "peak_position": (first + at).astype(np.int32), "peak": peak, "start": first.astype(np.int32),
        "tokens": _even(tokens.ravel(), window), "codes": _even(codes.ravel(), window),
        "texts": _even(pa.array(vocabulary).take(pa.array(tokens.ravel())), window),
    }  # fmt: skip
    return pa.table([pa.array(columns[field.name]).cast(field.type) for field in EXAMPLES], schema=EXAMPLES)


def _explanations(path: Path, n_latents: int, vocabulary: Sequence[str], share: float, rng: np.random.Generator) -> None:
    path.parent.mkdir(parents=True)
    latents = np.flatnonzero(rng.random(n_latents) < share).astype(np.int32)
    columns: dict[str, Any] = {
        "latent": latents,
        "explainer": ["pattern"] * len(latents),
        "text": [f"the token '{vocabulary[i % 16]}' in rule {i}" for i in latents.tolist()],
    }
    for i, score in enumerate(("detection", "fuzzing", "simulation", "embedding", "intervention")):
        value = (0.5 + 0.5 * rng.random(len(latents))).astype(np.float32)
        mask = np.full(len(latents), i > 1)
        for suffix, shift in (("", 0.0), ("_low", -0.1), ("_high", 0.1)):
            columns[score + suffix] = pa.array(value + np.float32(shift), mask=mask)
        columns[f"{score}_shuffled"] = pa.array(np.full(len(latents), 0.5, np.float32), mask=mask)
        columns[f"{score}_n"] = pa.array(np.full(len(latents), 40, np.int32), mask=mask)
    pq.write_table(pa.table(columns), path)


def _summary(run: Path, described: dict[str, Any]) -> None:
    edges = [-4.0, -3.0, -2.0, -1.0, 0.0]
    entries, scores = [], {}
    for i, (name, what) in enumerate(described.items()):
        numbers = {"ce_increase": 0.4 / (i + 1), "kl": 0.3 / (i + 1), "l0": 16.0 * (i + 1), "alive": 50, "fvu": 0.5}
        entries.append(
            {"name": name, "objective": name[:5], "architecture": "topk", "site": what["site"], "n_latents": what["n_latents"],
             "k": 16, "tokens": 1000, "warm_start_tokens": 0, "ce_original": 3.3, **numbers}
        )  # fmt: skip
        scores[name] = {"tokens": 5000, "density": {"log10_edges": edges, "counts": [2, 9, 5, 1], "never": 3}}
    summary = {"host": "tiny", "data": {"digest": "d" * 64}, "excluded": "position 0", "dictionaries": entries, "versions": {}}
    (run / "summary.json").write_text(json.dumps(summary))
    (run / "scores.json").write_text(json.dumps(scores))


def _even(values: Any, length: int) -> pa.Array:
    values = values if isinstance(values, pa.Array) else pa.array(values)
    return pa.ListArray.from_arrays(np.arange(0, len(values) + 1, length, dtype=np.int32), values)


def _rows(values: np.ndarray, keep: np.ndarray) -> pa.Array:
    """Lists of the rows of a matrix, empty where not kept."""
    offsets = np.concatenate([[0], np.cumsum(keep * values.shape[1])]).astype(np.int32)
    return pa.ListArray.from_arrays(offsets, pa.array(values[keep].ravel()))
