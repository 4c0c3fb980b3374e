"""The sweeps of 'end-to-end sparse dictionary learning' on SmolLM2: three sites, three objectives, five coefficients each.

    python benchmarks/e2e_paper/sweep.py --out runs/e2e_paper            all of them, hours on two cores
    python benchmarks/e2e_paper/sweep.py --out /tmp/small --smallest     the same steps in a minute, for tests

Every dictionary of a sweep starts from the same random atoms, or from the same local dictionary, and sees the same
tokens, so budgets are equal (layers.14-local has the total budget of layers.14-from-local). Runs can be stopped and
started again. The folders beside this file keep what each sweep gave, table.md and comparison.html show it.
"""

from __future__ import annotations

import argparse
import warnings
from pathlib import Path
from typing import Any

from pellucid.core.errors import HostMismatchWarning
from pellucid.core.files import read_json, write_json, write_text
from pellucid.core.logging import log, to_stderr
from pellucid.core.provenance import environment
from pellucid.data import DataSource, TextConfig, load_text
from pellucid.dictionaries import ReluConfig
from pellucid.evaluation.compare import compare
from pellucid.evaluation.run import evaluate_run
from pellucid.evaluation.run_rows import read_summary
from pellucid.hosts import Host
from pellucid.training import DictionaryConfig, EndToEnd, EndToEndDownstream, FitConfig, Local, fit
from pellucid.web import write_comparison

WIDTH = 4608
SEED = 0
LR = 1e-3
OBJECTIVES = ("local", "e2e", "e2e+ds")
HELD_OUT_ROWS = 48
EXCLUDED = 4
"""First positions no dictionary of the sweep sees: a row that opens with a repeated token has the sink's norm there too."""
# lambdas of each objective, beta of the downstream term (0.05 late, as in the paper), tokens and rows of 128 in an update;
# `start`: the local dictionary that all others go on from; `dtype`: of the host in training (float32 when scored)
MIDDLE: dict[str, Any] = {
    "site": "layers.14",
    "local": (3.0, 5.0, 8.0, 12.0, 18.0),
    "e2e": (0.35, 0.7, 1.3, 2.4, 4.5),
    "e2e+ds": (30.0, 55.0, 95.0, 150.0, 240.0),
    "beta": 2.5,
    "tokens": 204_800,
    "batch_rows": 4,
    "dtype": "bfloat16",
}
SWEEPS: dict[str, dict[str, Any]] = {
    "layers.5": {
        "site": "layers.5",
        "local": (2.0, 4.0, 7.0, 11.0, 16.0),
        "e2e": (0.4, 0.8, 1.5, 3.0, 5.0),
        "e2e+ds": (35.0, 70.0, 120.0, 200.0, 320.0),
        "beta": 2.5,
        "tokens": 40_960,
        "batch_rows": 2,
    },
    "layers.14": MIDDLE,
    "layers.14-from-local": {**MIDDLE, "start": {"l1": 8.0, "tokens": 81_920, "batch_rows": 1}},
    # what the local dictionaries of the sweep above would have been, had each had its own lambda from the beginning
    "layers.14-local": {**MIDDLE, "e2e": (), "e2e+ds": (), "tokens": 286_720, "batch_rows": 2},
    "layers.24": {
        "site": "layers.24",
        "local": (9.0, 18.0, 30.0, 45.0, 65.0),
        "e2e": (0.4, 0.8, 1.5, 3.0, 5.0),
        "e2e+ds": (1.0, 2.0, 4.0, 7.0, 11.0),
        "beta": 0.05,
        "tokens": 204_800,
        "batch_rows": 4,
        "dtype": "bfloat16",
    },
}
"""Early blocks first, as results are shown."""


def architecture(l1: float) -> ReluConfig:
    """The paper's dictionary at about eight times the width; the starting values are chosen for a short run."""
    return ReluConfig(n_latents=WIDTH, l1=l1, bias_init="mean", tied_init=True)


def start_config(name: str) -> FitConfig:
    """The local dictionary that all of a sweep's go on from."""
    grid = SWEEPS[name]
    first = DictionaryConfig(site=grid["site"], architecture=architecture(grid["start"]["l1"]), lr=LR, seed=SEED)
    return _config({"start": first}, grid["start"]["tokens"], batch_rows=grid["start"]["batch_rows"])


def sweep_config(name: str, start: Path | None = None, *, tokens: int | None = None, coefficients: int = 5) -> FitConfig:
    """The dictionaries of one sweep (three objectives, each with its coefficients), all in one pass from one start.

    `start` is the run of `start_config`, None for random atoms; `tokens` and `coefficients` (how many of each objective)
    cut the sweep short, for tests.
    """
    grid = SWEEPS[name]
    objectives = {"local": Local(), "e2e": EndToEnd(), "e2e+ds": EndToEndDownstream(downstream_coefficient=grid["beta"])}
    dictionaries = {
        f"{kind}-{l1:g}": DictionaryConfig(
            site=grid["site"],
            architecture=architecture(l1),
            objective=objective,
            lr=LR,
            seed=SEED,
            init_from=str(start / "dictionaries" / "start") if start else None,
        )
        for kind, objective in objectives.items()
        for l1 in grid[kind][:coefficients]
    }
    dtype = grid.get("dtype", "float32")
    return _config(dictionaries, tokens or grid["tokens"], batch_rows=grid["batch_rows"], dtype=dtype)


def _config(dictionaries: dict[str, DictionaryConfig], tokens: int, **kind: Any) -> FitConfig:
    data = TextConfig(seed=SEED, exclude_first=EXCLUDED)
    return FitConfig(dictionaries=dictionaries, tokens=tokens, data=data, log_every=4, **kind)


def keep(run: Path, out: Path, command: str) -> None:
    """Write what one sweep's run measured, with what made it, to OUT/NAME/summary.json."""
    made = {**environment(), "command": command, "seed": SEED, "lr": LR, "width": WIDTH, "grid": SWEEPS[run.name]}
    folder = out / run.name
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / "summary.json", {**read_json(run / "summary.json"), **made})


def present(out: Path) -> None:
    """Write table.md and comparison.html of all sweeps that OUT keeps."""
    kept = [out / name for name in SWEEPS if (out / name).exists()]
    write_text(out / "table.md", "\n".join(section(folder.name, read_summary(folder)) for folder in kept))
    sites = [folder for folder in kept if folder.name == SWEEPS[folder.name]["site"]]
    write_comparison(compare(sites), out / "comparison.html")
    for folder in kept:  # one curve would join what began at random and what did not
        if "start" in SWEEPS[folder.name]:
            write_comparison(compare([folder]), folder / "comparison.html")


def section(name: str, summary: dict[str, Any]) -> str:
    """Return one sweep's results as a Markdown table, sparsest dictionaries last."""
    rows = sorted(summary["dictionaries"], key=lambda row: (OBJECTIVES.index(row["objective"]), row["sparsity"]))
    warm = rows[0]["warm_start_tokens"]
    begin = f"one local dictionary of {warm:,} tokens" if warm else "random atoms"
    head = "| objective | lambda | L0 | alive | CE increase | KL | FVU | MSE at site | MSE last block | norm ratio |"
    lines = [
        f"## {name}",
        "",
        f"Made by `{summary['command']}` on {summary['date']}; seed {summary['seed']}, "
        + ", ".join(f"{name} {version}" for name, version in summary["versions"].items())
        + f". Every dictionary: {rows[0]['tokens']:,} tokens from {begin}, {128 * summary['grid']['batch_rows']} an update, "
        f"host in {summary['grid'].get('dtype', 'float32')} while training; "
        f"{rows[0]['held_out_tokens']:,} held-out positions; original cross-entropy {rows[0]['ce_original']:.3f}.",
        "",
        head,
        "|" + " --- |" * (head.count("|") - 1),
    ]
    for row in rows:
        last = list(row["downstream_mse"].values())[-1]
        values = (row["l0"], row["alive"], row["ce_increase"], row["kl"], row["fvu"], row["mse"], last, row["norm_ratio"])
        cells = [row["objective"], f"{row['sparsity']:g}", *(f"{value:.4g}" for value in values)]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def main() -> None:
    """Run what is not yet done, score it and collect."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("runs/e2e_paper"), help="folder of the runs")
    parser.add_argument("--sweeps", nargs="*", default=list(SWEEPS), choices=list(SWEEPS), help="which to run")
    parser.add_argument("--smallest", action="store_true", help="one late site, one coefficient, a few updates")
    parser.add_argument("--results", type=Path, default=Path(__file__).parent, help="where the results of each sweep go")
    arguments = parser.parse_args()
    to_stderr()
    small = arguments.smallest
    host = Host.load("smollm2")
    data: DataSource = load_text(TextConfig(seed=SEED, exclude_first=EXCLUDED), host.tokenizer)
    kept = arguments.out / "results" if small else arguments.results
    command = f"python benchmarks/e2e_paper/sweep.py --out {arguments.out}" + (" --smallest" if small else "")
    for name in ["layers.24"] if small else arguments.sweeps:
        start = None
        if "start" in SWEEPS[name]:
            start = fit(start_config(name), arguments.out / f"{name}-start", host=host, data=data)
        config = sweep_config(name, tokens=512, coefficients=1) if small else sweep_config(name, start)
        training = host if config.dtype == "float32" else Host.load("smollm2", dtype=config.dtype)
        run = fit(config, arguments.out / name, host=training, data=data)
        if not (run / "summary.json").exists():
            with warnings.catch_warnings():
                if training is not host:  # the same weights, unrounded
                    warnings.simplefilter("ignore", HostMismatchWarning)
                evaluate_run(run, host, data, rows=2 if small else HELD_OUT_ROWS, batch_rows=4)
        keep(run, kept, command if small else f"{command} --sweeps {name}")
        log.info("%s is in %s", name, kept / name)
    present(kept)


if __name__ == "__main__":
    main()
