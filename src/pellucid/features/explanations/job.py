"""Explain the latents of a run and score the explanations."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pellucid.core import files
from pellucid.core.errors import DataError
from pellucid.core.logging import Ticker, finite, log
from pellucid.core.provenance import versions
from pellucid.data import DataSource, load_text
from pellucid.evaluation import load_run
from pellucid.features.explain import Evidence, cut, gather
from pellucid.features.explanations.activations import PARTS, Activations, Wanted, read_activations
from pellucid.features.explanations.config import ExplainConfig
from pellucid.features.explanations.models import Models
from pellucid.features.explanations.schema import FOLDER, SUMMARY, path_of, write_explanations
from pellucid.features.explanations.summary import summary_of
from pellucid.features.explanations.work import Work
from pellucid.features.index import Index
from pellucid.hosts import Host
from pellucid.training import run_config
from pellucid.training.folder import locked

CODES = ".codes"
"""Folder in RUN/explanations for codes that were read off the host."""


def explain_run(
    run: str | Path,
    config: ExplainConfig | None = None,
    *,
    dictionaries: Sequence[str] = (),
    replace: bool = False,
    host: Host | None = None,
    data: DataSource | None = None,
) -> dict[str, Any]:
    """Explain random alive latents of a run's dictionaries (default: all) and score the explanations; return the summary.

    Explainers see training rows only; scores are made on held-out rows. As a control every score is also made with
    explanations permuted among the latents. Each explanation and score is on disk as soon as it is made, in
    RUN/explanations/<dictionary>/work; the same command goes on from there. RUN/explanations/<dictionary>/<explainer>.parquet
    and summary.json are written at the end, also when the job ends early.

    Raises RunError if the run has no index, is in use, or holds explanations made with other settings (`replace` explains
    again); ConfigError if a setting does not fit; what explainer, judge and `held_out_codes` raise.
    """
    run, config = Path(run), config or ExplainConfig()
    index = Index.open(run)
    names = list(dictionaries) or index.dictionaries
    chosen = {name: choose(index, name, config.latents, config.seed) for name in names}
    if host is None:
        fitted = run_config(run)
        host = Host.load(fitted.host, device=fitted.device, dtype=fitted.dtype)
    if data is None:
        data = load_text(run_config(run).data, host.tokenizer)
    models = Models(config, host)
    found, headers = load_run(run, host)
    wanted = {
        name: Wanted(
            *found[name], chosen[name], f"{headers[name].get('weights_sha256')}|{data.digest()}|{headers[name]['site']}"
        )
        for name in names
    }
    results = {}
    with locked(run):
        rows = {"train": config.shown_rows, "held_out": config.scored_rows}
        tasks = {name: _Task(run, name, config, models, data, wanted[name]) for name in names}
        works = {name: task.begin(replace) for name, task in tasks.items()}
        read = {
            part: read_activations(run / FOLDER / CODES, host, data, wanted, part, rows=n, batch_rows=config.batch_rows)
            for part, n in rows.items()
        }
        for name, task in tasks.items():
            results[name] = task.perform(works[name], [read[part][name] for part in PARTS])
    return {"run": str(run), "explainer": config.explainer, "explained": results}


def choose(index: Index, name: str, n: int, seed: int) -> list[int]:
    """Return n latents of a dictionary that fired while it was indexed, drawn at random, in order; all if no more are."""
    firings = index.latents(name, ["firings"])["firings"].to_numpy()
    alive = np.nonzero(firings > 0)[0]
    if not len(alive):
        raise DataError(f"no latent of '{name}' fired on the text that was indexed, so there is nothing to explain")
    drawn = np.random.default_rng([seed, len(alive)]).permutation(alive)[:n]
    return sorted(int(latent) for latent in drawn)


@dataclass(frozen=True)
class _Task:
    """One dictionary."""

    run: Path
    name: str
    config: ExplainConfig
    models: Models
    data: DataSource
    wanted: Wanted

    def begin(self, replace: bool) -> Work:
        """Open what is there already."""
        path = self.run / FOLDER / self.name / "work" / f"{self.config.explainer}.jsonl"
        if replace:
            path.unlink(missing_ok=True)
        return Work(path, self.config.explainer, self._settings())

    def perform(self, work: Work, activations: Sequence[Activations]) -> dict[str, Any]:
        """Do what is left; the tables are written in any case."""
        before = self.models.cost()
        try:
            self._explain(work, self.models.explainer(), activations)
            dictionary = (self.wanted.dictionary, self.wanted.site)
            self._score(work, self.models.scorers(self.name, dictionary, self.data), activations)
        finally:
            work.add_cost({key: value - before.get(key, 0) for key, value in self.models.cost().items()})
            work.close()
            path = path_of(self.run, self.name, self.config.explainer)
            write_explanations(path, work.table())
            summary = self._summary(work)
        log.info("explanations of '%s': %s", self.name, path)
        if work.costs:
            log.info("used for '%s': %s", self.name, summary["cost"])
        return summary

    def _explain(self, work: Work, explainer: Any, activations: Sequence[Activations]) -> None:
        left = [latent for latent in self.wanted.latents if latent not in work.texts and latent not in work.skipped]
        with Ticker(f"explaining '{self.name}'", len(left), unit="latents") as ticker:
            for latent in left:
                try:
                    evidence = self._evidence(latent, activations)
                except DataError as error:
                    work.skip(latent, str(error))
                else:
                    work.add_text(latent, explainer.explain(evidence.shown))
                ticker.advance(1)

    def _score(self, work: Work, scorers: Sequence[Any], activations: Sequence[Activations]) -> None:
        explained = [latent for latent in self.wanted.latents if latent in work.texts]
        other = control(explained, self.config.seed)
        left = [(latent, [scorer for scorer in scorers if (latent, scorer.name) not in work.scores]) for latent in explained]
        left = [(latent, wanted) for latent, wanted in left if wanted]
        with Ticker(f"scoring '{self.name}'", len(left), unit="latents") as ticker:
            for latent, wanted in left:
                evidence = self._evidence(latent, activations)
                for scorer in wanted:
                    own = scorer.score(work.texts[latent], evidence)
                    shuffled = scorer.score(work.texts[other[latent]], evidence).value if latent in other else None
                    values = {"value": own.value, "low": own.low, "high": own.high, "n": own.n, "shuffled": shuffled}
                    work.add_score(latent, scorer.name, values)
                ticker.advance(1)

    def _evidence(self, latent: int, activations: Sequence[Activations]) -> Evidence:
        settings = self.config.contexts
        cuts = [cut(a.part, a.texts, a.plane(latent), settings.length) for a in activations]
        return gather(latent, cuts[0], cuts[1], settings, self.config.seed)

    def _settings(self) -> dict[str, Any]:
        """What must be equal for a job to go on; more scores may be asked for, and the endpoint may have moved."""
        return {
            **self.config.model_dump(mode="json", exclude={"scores", "endpoint", "batch_rows"}),
            "identity": self.wanted.identity,
        }

    def _summary(self, work: Work) -> dict[str, Any]:
        path = self.run / FOLDER / self.name / SUMMARY
        known = files.read_json(path) if path.is_file() else {}
        settings = {**self._settings(), "judge": self.config.judged_by, "data": self.data.describe(), "versions": versions()}
        summary = finite(summary_of(work, len(self.wanted.latents), settings))
        files.write_json(path, {**known, self.config.explainer: summary})
        return summary


def control(latents: Sequence[int], seed: int) -> dict[int, int]:
    """Return for each latent another one, whose explanation it is tried with: a cycle in an order drawn from the seed."""
    order = [latents[int(i)] for i in np.random.default_rng([seed, len(latents)]).permutation(len(latents))]
    return dict(zip(order, [*order[1:], order[0]], strict=True)) if len(order) > 1 else {}
