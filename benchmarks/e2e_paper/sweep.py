"""The sweep of 'end-to-end sparse dictionary learning' on SmolLM2: three sites, three objectives, five coefficients each.

    python benchmarks/e2e_paper/sweep.py --out runs/e2e_paper            the whole sweep, hours on two cores
    python benchmarks/e2e_paper/sweep.py --out /tmp/small --smallest     the same steps in a minute, for tests

Every dictionary starts from the same random atoms and sees the same tokens, so budgets are equal.
Runs can be stopped and started again. results.json, table.md and comparison.html beside this file
are what the whole sweep gave.
"""

from __future__ import annotations

import argparse
import json
import math
from pathlib import Path
from typing import Any

from pellucid.core.files import read_json, write_json, write_text
from pellucid.core.logging import log, to_stderr
from pellucid.core.provenance import environment
from pellucid.data import DataSource, TextConfig, load_text
from pellucid.dictionaries import ReluConfig
from pellucid.evaluation.compare import compare
from pellucid.evaluation.run import evaluate_run
from pellucid.hosts import Host
from pellucid.training import DictionaryConfig, EndToEnd, EndToEndDownstream, FitConfig, Local, fit
from pellucid.web import write_comparison

WIDTH = 4608
SEED = 0
LR = 1e-3
TOKENS = 40_960
HELD_OUT_ROWS = 48
EXCLUDED = 4
"""First positions no dictionary of the sweep sees: a row that opens with a repeated token has the sink's norm there too."""
# five lambdas an objective; beta of the downstream term (0.05 late, as in the paper)
SITES: dict[str, dict[str, Any]] = {
    "layers.14": {
        "local": (4.0, 8.0, 14.0, 22.0, 32.0),
        "e2e": (0.4, 0.8, 1.5, 3.0, 5.0),
        "e2e+ds": (35.0, 70.0, 120.0, 200.0, 320.0),
        "beta": 2.5,
    },
    "layers.24": {
        "local": (9.0, 18.0, 30.0, 45.0, 65.0),
        "e2e": (0.4, 0.8, 1.5, 3.0, 5.0),
        "e2e+ds": (1.0, 2.0, 4.0, 7.0, 11.0),
        "beta": 0.05,
    },
    "layers.5": {
        "local": (2.0, 4.0, 7.0, 11.0, 16.0),
        "e2e": (0.4, 0.8, 1.5, 3.0, 5.0),
        "e2e+ds": (35.0, 70.0, 120.0, 200.0, 320.0),
        "beta": 2.5,
    },
}


def architecture(l1: float) -> ReluConfig:
    """The paper's dictionary at about eight times the width; the starting values are chosen for a short run."""
    return ReluConfig(n_latents=WIDTH, l1=l1, bias_init="mean", tied_init=True)


def sweep_config(site: str, tokens: int, coefficients: int = 5) -> FitConfig:
    """Fifteen dictionaries of one site (three objectives, five coefficients), all in one pass, from the same atoms."""
    grid = SITES[site]
    objectives = {"local": Local(), "e2e": EndToEnd(), "e2e+ds": EndToEndDownstream(downstream_coefficient=grid["beta"])}
    dictionaries = {
        f"{kind}-{l1:g}": DictionaryConfig(
            site=site,
            architecture=architecture(l1),
            objective=objective,
            lr=LR,
            seed=SEED,
        )
        for kind, objective in objectives.items()
        for l1 in grid[kind][:coefficients]
    }
    data = TextConfig(seed=SEED, exclude_first=EXCLUDED)
    return FitConfig(dictionaries=dictionaries, tokens=tokens, batch_rows=2, data=data, log_every=4)


def collect(runs: list[Path], out: Path, command: str) -> dict[str, Any]:
    """Write results.json, table.md and comparison.html from the scored runs."""
    rows = []
    for run in runs:
        for entry in read_json(run / "summary.json")["dictionaries"]:
            rows.append({**entry, "l1": entry["sparsity"]})
    settings = {"seed": SEED, "lr": LR, "width": WIDTH, "grids": SITES}
    results = {**environment(), "command": command, **settings, "rows": rows}
    write_json(out / "results.json", results)
    write_text(out / "table.md", table(rows, results))
    write_comparison(compare(runs), out / "comparison.html")
    return results


def table(rows: list[dict[str, Any]], results: dict[str, Any]) -> str:
    """Return the results as a Markdown table."""
    head = "| site | objective | lambda | L0 | alive | CE increase | KL | FVU | MSE at site | MSE last block | norm ratio |"
    lines = [
        f"Made by `{results['command']}` on {results['date']}; seed {results['seed']}, "
        + ", ".join(f"{name} {version}" for name, version in results["versions"].items())
        + f". Every dictionary: {rows[0]['tokens']:,} tokens from random atoms; "
        f"{rows[0]['held_out_tokens']:,} held-out positions; original cross-entropy {rows[0]['ce_original']:.3f}.",
        "",
        head,
        "|" + " --- |" * (head.count("|") - 1),
    ]
    for row in rows:
        last = list(row["downstream_mse"].values())[-1]
        values = (row["l0"], row["alive"], row["ce_increase"], row["kl"], row["fvu"], row["mse"], last, row["norm_ratio"])
        cells = [row["site"], row["objective"], f"{row['l1']:g}", *(f"{value:.4g}" for value in values)]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def main() -> None:
    """Run what is not yet done, score it and collect."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("runs/e2e_paper"), help="folder of the runs")
    parser.add_argument("--sites", nargs="*", default=list(SITES), choices=list(SITES), help="sites to sweep")
    parser.add_argument("--smallest", action="store_true", help="one late site, one coefficient, a few updates")
    parser.add_argument("--results", type=Path, default=Path(__file__).parent, help="where results.json and table.md go")
    arguments = parser.parse_args()
    to_stderr()
    small = arguments.smallest
    host = Host.load("smollm2")
    data: DataSource = load_text(TextConfig(seed=SEED, exclude_first=EXCLUDED), host.tokenizer)
    runs = []
    for site in ["layers.24"] if small else arguments.sites:
        config = sweep_config(site, 512, 1) if small else sweep_config(site, TOKENS)
        run = fit(config, arguments.out / site, host=host, data=data)
        if not (run / "summary.json").exists():
            evaluate_run(run, host, data, rows=2 if small else HELD_OUT_ROWS, batch_rows=4)
        runs.append(run)
    command = f"python benchmarks/e2e_paper/sweep.py --out {arguments.out}" + (" --smallest" if small else "")
    if arguments.sites != list(SITES):
        command += f" --sites {' '.join(arguments.sites)}"
    results = collect(runs, arguments.out if small else arguments.results, command)
    log.info("%s", json.dumps({"rows": len(results["rows"]), "finite": all(math.isfinite(r["kl"]) for r in results["rows"])}))


if __name__ == "__main__":
    main()
