"""The command line: verbs only; each calls one public function."""

from __future__ import annotations

import inspect
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, TypeVar

import tyro
from pydantic import Field, ValidationError

from pellucid.core import config as configs
from pellucid.core.config import Config
from pellucid.core.errors import ConfigError, PellucidError, did_you_mean
from pellucid.core.logging import to_stderr
from pellucid.dictionaries import ARCHITECTURES
from pellucid.programs.options import BenchOptions, DistillOptions
from pellucid.training import DictionaryConfig, FitConfig


class Verb(Config):
    """What every verb takes."""

    config: Path | None = None
    """YAML file with any of these settings; flags come after it and win."""
    json_: Annotated[bool, tyro.conf.arg(name="json")] = Field(False, alias="json")
    """Print one JSON object, last on stdout."""

    @classmethod
    def description(cls) -> str:
        """Return what --help says before the flags."""
        return inspect.getdoc(cls) or ""


class Demo(Verb):
    """Run the main job on SmolLM2 in minutes: local against end-to-end dictionaries, with a report."""

    out: Path = Path("runs/demo")
    """Run folder; an unfinished demo there is resumed."""
    smallest: bool = False
    """Only check that everything works, in about a minute; the numbers say nothing."""


class Get(Verb):
    """Fetch a host of the catalogue, check it, convert it and keep it in the cache."""

    name: tyro.conf.Positional[str] = "smollm2"
    """Name in the catalogue."""


class Fit(Verb, FitConfig):
    """Train dictionaries on a language model, score them on held-out text and write a report.

    One dictionary is described by flags (--site, --architecture, --objective, ...); several by the key `dictionaries` of a
    YAML file given with --config.
    """

    out: Path = Path("runs/fit")
    """Run folder; an unfinished fit there is resumed, another config there is refused."""
    dictionaries: Annotated[dict[str, DictionaryConfig], tyro.conf.Suppress] = Field(
        default_factory=lambda: {"main": DictionaryConfig(site="layers.14")}
    )
    """Dictionaries by name, in a YAML file."""
    site: str | None = None
    """Where the dictionary reads and writes, like layers.14 or layers.14.mlp (default layers.14)."""
    architecture: str | None = None
    """Kind of dictionary (default topk); each with its settings below."""
    objective: str | None = None
    """local, e2e or e2e+ds (default local)."""
    n_latents: int | None = None
    """Number of latents."""
    k: int | None = None
    """Active latents per token (topk, batch_topk)."""
    l1: float | None = None
    """Sparsity coefficient lambda (relu, gated)."""
    target_l0: float | None = None
    """Active latents per token that the penalty aims at (jumprelu)."""
    lr: float | None = None
    """Peak learning rate."""
    init_from: str | None = None
    """Folder of a dictionary to start from."""

    @classmethod
    def description(cls) -> str:
        """Return what --help says, with the settings of every architecture."""
        kinds = [f"{name}: {configs.explain(kind.Config)}" for name, kind in ARCHITECTURES.items()]
        title = "Settings of `architecture` in the YAML file, by kind (some have a flag below):"
        return "\n\n".join([super().description(), title, *kinds])


class Evaluate(Verb):
    """Score a finished run again on held-out data."""

    run: tyro.conf.Positional[Path] = Path("runs/demo")
    """Run folder."""
    rows: int | None = None
    """Held-out rows (default: as the run's config says)."""


class Compare(Verb):
    """Compare runs: Pareto fronts, and how many active latents each objective needs at equal CE increase."""

    runs: tyro.conf.Positional[tuple[Path, ...]] = ()
    """Run folders."""
    reference: str = "local"
    """Objective the others are compared with."""
    out: Path | None = None
    """Write the comparison as a page to this file."""


class Report(Verb):
    """Write RUN/report.html: one file that opens offline."""

    run: tyro.conf.Positional[Path] = Path("runs/demo")
    """Run folder."""
    others: tuple[Path, ...] = ()
    """Runs shown beside it."""


class Distill(Verb, DistillOptions):
    """Turn a recurrent network, trained here or given, into a verified Python program."""

    out: Path = Path("runs/program")
    """Folder for program.py, summary.json and the automaton."""


class Bench(Verb, BenchOptions):
    """Run a benchmark: mips distils its 62 tasks and writes a page with every program."""

    name: tyro.conf.Positional[str] = "mips"
    """Name of the benchmark."""
    out: Path = Path("runs/mips")
    """Folder for results.json, index.html and a folder for each task."""


V = TypeVar("V", bound=Verb)


def _demo(options: Demo) -> Any:
    from pellucid.demo import demo

    return demo(options.out, smallest=options.smallest)


def _get(options: Get) -> Any:
    from pellucid.hosts.catalogue import get

    return {"name": options.name, "path": str(get(options.name))}


def _fit(options: Fit) -> Any:
    from pellucid.job import fit

    return fit(fit_config(options), options.out)


def _evaluate(options: Evaluate) -> Any:
    from pellucid.job import evaluate

    return evaluate(options.run, rows=options.rows)


def _compare(options: Compare) -> Any:
    from pellucid.evaluation.compare import compare
    from pellucid.web import write_comparison

    comparison = compare(list(options.runs), reference=options.reference)
    if options.out is not None:
        write_comparison(comparison, options.out)
    return comparison if not options.json_ else comparison.to_json()


def _report(options: Report) -> Any:
    from pellucid.web import write_report

    return {"report": str(write_report(options.run, list(options.others)))}


def _distill(options: Distill) -> Any:
    from pellucid.programs.job import distill_to

    return distill_to(options, options.out)


def _bench(options: Bench) -> Any:
    from pellucid.programs.bench import bench

    return bench(options, options.out, options.name)


VERBS: dict[str, tuple[type[Verb], Any]] = {
    "demo": (Demo, _demo),
    "get": (Get, _get),
    "fit": (Fit, _fit),
    "evaluate": (Evaluate, _evaluate),
    "compare": (Compare, _compare),
    "report": (Report, _report),
    "distill": (Distill, _distill),
    "bench": (Bench, _bench),
}


def fit_config(options: Fit) -> FitConfig:
    """Return the FitConfig that the flags and the YAML file describe; ConfigError if they contradict each other."""
    names = ("site", "objective", "architecture", "n_latents", "k", "l1", "target_l0", "lr", "init_from")
    given = {name: value for name in names if (value := getattr(options, name)) is not None}
    values = {name: getattr(options, name) for name in FitConfig.model_fields}
    if not given:
        return configs.build(FitConfig, values)
    if set(options.dictionaries) != {"main"}:
        named = sorted(options.dictionaries)
        raise ConfigError(f"flags {sorted(given)} describe one dictionary, but the file names {named}; use one or the other")
    base = options.dictionaries["main"].model_dump(mode="json")
    changed = dict(base)
    for name in ("site", "lr", "init_from"):
        changed[name] = given.get(name, base[name])
    if "objective" in given:
        changed["objective"] = {"kind": given["objective"]}
    same_kind = given.get("architecture", base["architecture"]["kind"]) == base["architecture"]["kind"]
    settings = {name: given[name] for name in ("n_latents", "k", "l1", "target_l0") if name in given}
    changed["architecture"] = (base["architecture"] if same_kind else {"kind": given["architecture"]}) | settings
    return configs.build(FitConfig, {**values, "dictionaries": {"main": changed}})


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one verb; return the exit status: 0, 2 for an error the user can mend, 130 after Ctrl-C."""
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    to_stderr()
    if not arguments or arguments[0] in ("-h", "--help"):
        sys.stdout.write(_overview())
        return 0 if arguments else 2
    verb = arguments[0]
    if verb not in VERBS:
        sys.stderr.write(f"pellucid: unknown verb '{verb}'.{did_you_mean(verb, VERBS)}\n{_overview()}")
        return 2
    kind, action = VERBS[verb]
    try:
        options = parse(kind, arguments[1:], verb)
        result = action(options)
    except PellucidError as error:
        sys.stderr.write(f"pellucid {verb}: {error}\n")
        if "--json" in arguments:
            sys.stdout.write(json.dumps({"error": str(error), "kind": type(error).__name__}) + "\n")
        return 2
    except KeyboardInterrupt:
        return 130
    if result == {}:  # a rank that is not the first: that one speaks
        return 0
    sys.stdout.write((json.dumps(result, allow_nan=False) if options.json_ else _text(result)) + "\n")
    return 0


def parse(kind: type[V], arguments: Sequence[str], verb: str) -> V:
    """Return a verb's options from a YAML file (--config) and flags; ConfigError lists what does not fit."""
    path = _config_path(arguments)
    default = configs.build(kind, configs.load_yaml(path) if path else {}, where=path or "config")
    try:
        return tyro.cli(kind, args=list(arguments), default=default, prog=f"pellucid {verb}", description=kind.description())
    except ValidationError as error:
        problems = "; ".join(f"{'.'.join(str(part) for part in item['loc'])}: {item['msg']}" for item in error.errors())
        raise ConfigError(f"the settings do not fit: {problems}") from None


def _config_path(arguments: Sequence[str]) -> str | None:
    for i, argument in enumerate(arguments):
        if argument == "--config" and i + 1 < len(arguments):
            return arguments[i + 1]
        if argument.startswith("--config="):
            return argument.split("=", 1)[1]
    return None


def _overview() -> str:
    lines = ["usage: pellucid VERB [options]   (pellucid VERB --help explains each)", ""]
    lines += [f"  {name:<10}{(kind.__doc__ or '').splitlines()[0]}" for name, (kind, _) in VERBS.items()]
    return "\n".join(lines) + "\n"


def _text(result: Any) -> str:
    """Return what a person reads in the terminal."""
    if hasattr(result, "to_text"):
        return result.to_text()
    if isinstance(result, dict) and "dictionaries" in result:
        names = ("name", "objective", "site", "l0", "ce_increase", "kl", "fvu", "alive")
        rows = [names, *([_cell(entry.get(name)) for name in names] for entry in result["dictionaries"])]
        widths = [max(len(str(row[i])) for row in rows) for i in range(len(names))]
        return "\n".join("  ".join(str(cell).ljust(width) for cell, width in zip(row, widths, strict=True)) for row in rows)
    return "\n".join(f"{key}: {value}" for key, value in result.items())


def _cell(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


if __name__ == "__main__":
    sys.exit(main())
