"""The features of a run that its report shows: features.json."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from pellucid.core import files
from pellucid.core.logging import log
from pellucid.data import DataSource
from pellucid.dictionaries import Dictionary
from pellucid.evaluation import load_run
from pellucid.evaluation.run import run_targets
from pellucid.features.codes import count_firings
from pellucid.features.examples import Example, sample_latents, top_examples
from pellucid.features.heads import head_shares, n_heads_at
from pellucid.features.logit_effects import LogitEffects, logit_effects, top_tokens
from pellucid.hosts import Head, Host, Site

FEATURES_FILE = "features.json"
DIGITS = 6
"""Significant digits of a number in the file."""


@torch.no_grad()
def collect_features(
    run: str | Path,
    host: Host,
    data: DataSource,
    n_features: int = 12,
    *,
    rows: int | None = 160,
    batch_rows: int = 8,
    seed: int = 0,
) -> dict[str, list[dict[str, Any]]]:
    """Return some features of each dictionary in RUN/dictionaries, as JSON values: name -> features, frequent to rare.

    Which latents: `sample_latents` of the firings on the first `rows` held-out rows (None: all). Each has
      latent, density   its number, and the share of kept held-out positions on which it fires
      max, examples     its greatest code there, and the rows of `top_examples`: tokens, activations, peak
      raises, lowers    [token, effect] of `top_tokens`; both empty where `logit_effects` has none, and then
      no_effects        says why.
      heads             of a dictionary that writes layers.N.attn.z: each head's share of the atom (`head_shares`).
    The same run, host, data and settings give the same value. Data that is no text has no examples to show: {}.
    Raises RunError if the run holds no dictionary, and what `load_run` and `top_examples` raise.
    """
    if data.tokens_text(data.held_out_rows(torch.arange(min(1, data.n_held_out)))) is None:
        return {}
    dictionaries, headers = load_run(Path(run), host)
    with host.held():
        counters = count_firings(host, data, dictionaries, rows=rows, batch_rows=batch_rows)
        densities = {name: counter.density().cpu() for name, counter in counters.items()}
        latents = {name: sample_latents(counters[name].firings, n_features, seed) for name in dictionaries}
        examples = top_examples(host, data, dictionaries, latents, rows=rows, batch_rows=batch_rows)
        written = dictionaries | {name: (dictionaries[name][0], at) for name, at in run_targets(host, headers).items()}
        effects = _effects(host, data, written, latents)
    heads = {name: _heads(host, *at) for name, at in written.items()}
    return {
        name: [
            _feature(latent, densities[name], examples[name][latent], effects[name], place, _tokenizer(host, data))
            | {key: [_short(float(share)) for share in shares[latent]] for key, shares in heads[name].items()}
            for place, latent in enumerate(latents[name])
        ]
        for name in dictionaries
    }


def write_features(
    run: str | Path,
    host: Host,
    data: DataSource,
    n_features: int = 12,
    *,
    rows: int | None = 160,
    batch_rows: int = 8,
    seed: int = 0,
) -> Path:
    """Write what `collect_features` returns to RUN/features.json, whole or not at all; return its path."""
    path = Path(run) / FEATURES_FILE
    files.write_json(path, collect_features(run, host, data, n_features, rows=rows, batch_rows=batch_rows, seed=seed))
    return path


def _effects(
    host: Host, data: DataSource, dictionaries: Mapping[str, tuple[Dictionary, Site]], latents: Mapping[str, list[int]]
) -> dict[str, LogitEffects]:
    inputs = data.held_out_rows(torch.arange(1)).to(host.device).inputs
    head: Head | None = host.find_head(inputs)
    found = {}
    for name, (dictionary, site) in dictionaries.items():
        if _tokenizer(host, data) is None:
            found[name] = LogitEffects(None, f"{host.name} has no tokenizer to name the tokens with")
        else:
            found[name] = logit_effects(host, site, dictionary.atoms()[latents[name]], head, inputs=inputs)
        if found[name].reason:
            log.info("dictionary '%s': no effects on logits are shown: %s", name, found[name].reason)
    return found


def _heads(host: Host, dictionary: Dictionary, site: Site) -> dict[str, Float[Tensor, "m heads"]]:
    """Return {"heads": what `head_shares` says} where heads lie side by side at the site, else nothing."""
    return {"heads": head_shares(dictionary, n_heads_at(host, site))} if str(site).endswith(".attn.z") else {}


def _feature(
    latent: int,
    density: Float[Tensor, " m"],
    examples: list[Example],
    effects: LogitEffects,
    place: int,
    tokenizer: Any,
) -> dict[str, Any]:
    raises, lowers = ([], []) if effects.values is None else top_tokens(effects.values[place].cpu(), tokenizer)
    feature = {
        "latent": latent,
        "density": _short(float(density[latent])),
        "max": _short(examples[0].activation) if examples else 0.0,
        "examples": [
            {"tokens": e.tokens, "activations": [_short(value) for value in e.activations], "peak": e.peak} for e in examples
        ],
        "raises": [[token, _short(effect)] for token, effect in raises],
        "lowers": [[token, _short(effect)] for token, effect in lowers],
    }
    return feature | ({"no_effects": effects.reason} if effects.reason else {})


def _tokenizer(host: Host, data: DataSource) -> Any:
    """The host's tokenizer, or the one its text was cut with."""
    return host.tokenizer if host.tokenizer is not None else getattr(data, "tokenizer", None)


def _short(value: float) -> float:
    return float(f"{value:.{DIGITS}g}")
