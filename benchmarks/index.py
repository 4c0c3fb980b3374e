"""How fast an index is beside the plain forward to its site, batch by batch in one process.

    python benchmarks/index.py runs/demo --tokens 100000 --into indexed --out benchmarks/results/index.json
    python benchmarks/index.py --latents 131072 --width 64 --tokens 4096      # a tiny host: what memory many latents take

RUN is a finished run; a copy of it is indexed, in `--into`, where a benchmark that was stopped goes on. Without RUN: a TopK
with starting weights, of `--latents`, on a Llama of `--width` made here. Before every `--plain-every`-th batch the host runs
over the same batch as anyone would run it to the last site and no further, so that a machine that is busy for a while is so
for both.

    plain_s        median plain seconds of a row * rows
    speed          plain_s / all seconds of the index: pass, ablations, tables
    pass_speed     median of the plain seconds / the index's seconds of these batches, those without ablations
    bound_mb       most memory the index says beforehand that it may hold, in all
    peak_mb        most it held: resident, with what it had mapped of files

Seconds of the processor are given beside those of the clock, for machines that do other things too.
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
from resident import forget_peak, peak

from pellucid import Host, TextConfig, TopKConfig, load_text
from pellucid.core.logging import JsonLines, to_stderr
from pellucid.core.provenance import environment
from pellucid.data import DataSource, TextCounts, TokenData
from pellucid.dictionaries import make_dictionary, save_dictionary
from pellucid.evaluation import load_run
from pellucid.features.index import IndexConfig, build_index, memory
from pellucid.features.index.survey import Survey
from pellucid.features.index.text import IndexedText
from pellucid.hosts import Site
from pellucid.training import run_config

CLOCKS = {"wall": time.perf_counter, "cpu": time.process_time}
NONE = dict.fromkeys(CLOCKS, 0.0)
MB = 1e6
Seconds = dict[str, float]


def main() -> None:
    """Measure, print one JSON object, and write it to `--out`."""
    options = arguments().parse_args()
    to_stderr()
    begun = seconds()
    with tempfile.TemporaryDirectory() as scratch:
        run = options.into or Path(scratch) / "run"
        if options.run is None:
            host, data = tiny(options)
            save_random(run, host, host.site("layers.1"), TopKConfig(n_latents=options.latents, k=options.k), data)
        else:
            config = run_config(options.run)
            host = Host.load(config.host)
            data = load_text(config.data, host.tokenizer)
            if not run.exists():
                shutil.copytree(options.run, run, ignore=shutil.ignore_patterns("index"))
        loading = since(begun)
        config = IndexConfig(part="all", tokens=options.tokens, effect_share=options.effect_share)
        report = {**environment(), "loading": loading, **measure(run, host, data, config, options.plain_every)}
    text = json.dumps(report, indent=2)
    print(text)
    if options.out:
        options.out.write_text(text + "\n")


def arguments() -> argparse.ArgumentParser:
    """Return the reader of the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, nargs="?")
    parser.add_argument("--tokens", type=int, default=100_000)
    parser.add_argument("--plain-every", type=int, default=8)
    parser.add_argument("--effect-share", type=float, default=IndexConfig().effect_share)
    parser.add_argument("--into", type=Path)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--latents", type=int, default=131_072)
    parser.add_argument("--k", type=int, default=32)
    parser.add_argument("--width", type=int, default=64)
    return parser


def tiny(options: argparse.Namespace) -> tuple[Host, DataSource]:
    """Return a Llama of two blocks with starting weights, and random tokens with SmolLM2's tokenizer to write them with."""
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    tokenizer = Host.load("smollm2").tokenizer
    config = LlamaConfig(
        hidden_size=options.width, intermediate_size=2 * options.width, num_hidden_layers=2, num_attention_heads=2,
        num_key_value_heads=2, vocab_size=2048, max_position_embeddings=128,
    )  # fmt: skip
    n = -(-options.tokens // 128)
    rows = torch.randint(2, 2048, (2 * n, 128), generator=torch.Generator().manual_seed(1))
    counts = TextCounts(1, 1, 0, 0, n * 128, n * 128, 0, 0)
    data = TokenData(rows[:n], rows[n:], TextConfig(source="random tokens", context=128), tokenizer, counts)
    return Host(LlamaForCausalLM(config).eval(), name="tiny"), data


def save_random(run: Path, host: Host, site: Site, architecture: TopKConfig, data: DataSource) -> None:
    """Save a dictionary with starting weights into a run folder."""
    batch = data.held_out_rows(torch.arange(4))
    sample = host.run(batch.inputs, capture=[site], stop=True).values[site].flatten(0, -2)
    dictionary = make_dictionary(architecture, sample.shape[-1], torch.Generator().manual_seed(0), sample)
    header = {"name": "topk", "site": str(site), "objective": {"kind": "local"}, "tokens": 0}
    record = {"name": host.name, "weights_sha256": host.weights_digest(site)}
    save_dictionary(run / "dictionaries" / "topk", dictionary, {**header, "host": record})


def measure(run: Path, host: Host, data: DataSource, config: IndexConfig, plain_every: int) -> dict[str, Any]:
    """Index a run, with a plain forward before some batches; return seconds, ratios and memory."""
    log = run.with_name(f"{run.name}-batches.jsonl")
    earlier = [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []
    batches = {record["start"]: record for record in earlier}
    lines, update = JsonLines(log), Survey._update
    fresh: list[dict[str, Any]] = []

    def both(survey: Survey, start: int, batch: Any, head: Any, *, ablate: bool) -> int:
        record: dict[str, Any] = {"start": start, "ablations": ablate}
        if start // config.batch_rows % plain_every == 0:
            begun = seconds()
            with torch.no_grad():
                host.run(batch.inputs, capture=survey.sites, stop=True)
            record["plain"] = since(begun)
        begun = seconds()
        n_rows = update(survey, start, batch, head, ablate=ablate)
        record |= {"index": since(begun), "rows": n_rows}
        lines.write(**record)
        batches.setdefault(start, record)
        fresh.append(record)
        return n_rows

    dictionaries, _ = load_run(run, host)
    said = memory.estimate(host, IndexedText(data, config), dictionaries, config.batch_rows)
    forget_peak()
    Survey._update = both  # type: ignore[method-assign]
    begun = seconds()
    try:
        index = build_index(run, host, data, config)
    finally:
        Survey._update = update  # type: ignore[method-assign]
    spent = since(begun)
    rest = {clock: spent[clock] - sum(b["index"][clock] + b.get("plain", NONE)[clock] for b in fresh) for clock in CLOCKS}
    return {
        "settings": config.model_dump(mode="json"),
        "host": host.name,
        "data_digest": data.describe().get("digest"),
        "dictionaries": {name: one.model_dump(mode="json") for name, one in index._manifest.dictionaries.items()},
        "tokens": index.manifest["rows"] * index.manifest["context"],
        "latents": sum(index.n_latents(name) for name in index.dictionaries),
        "batches_of_earlier_processes": len(batches) - len(fresh),
        **{clock: summary(list(batches.values()), rest[clock], clock, index.manifest["context"]) for clock in CLOCKS},
        "said_mb": {name: size / MB for name, size in said.items()},
        "bound_mb": (said["held"] + max(said["pass"], said["tables"])) / MB,
        "peak_mb": peak() / MB,
    }


def summary(batches: list[dict[str, Any]], rest: float, clock: str, context: int) -> dict[str, Any]:
    """Return seconds and ratios by one clock; `rest` is what passed outside the batches."""
    beside = [batch for batch in batches if "plain" in batch]
    ratios = [batch["plain"][clock] / batch["index"][clock] for batch in beside if not batch["ablations"]]
    rows = sum(batch["rows"] for batch in batches)
    parts = [sum(b["index"][clock] for b in batches if b["ablations"] is ablated) for ablated in (False, True)]
    plain = statistics.median(batch["plain"][clock] / batch["rows"] for batch in beside) * rows
    total = sum(parts) + rest
    return {
        "plain_batches": len(beside),
        "plain_s": plain,
        "plain_tokens_per_s": rows * context / plain,
        "pass_s": parts[0],
        "batches_with_ablations": sum(batch["ablations"] for batch in batches),
        "batches_with_ablations_s": parts[1],
        "rest_s": rest,
        "index_s": total,
        "index_tokens_per_s": rows * context / total,
        "pass_speed": statistics.median(ratios),
        "pass_speeds": ratios,
        "speed": plain / total,
    }


def seconds() -> Seconds:
    """Return what every clock shows."""
    return {name: clock() for name, clock in CLOCKS.items()}


def since(begun: Seconds) -> Seconds:
    """Return what passed on every clock."""
    return {name: clock() - begun[name] for name, clock in CLOCKS.items()}


if __name__ == "__main__":
    main()
