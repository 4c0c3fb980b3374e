"""How much longer an index takes than the plain forward to its site, batch by batch in one process.

    python benchmarks/index.py --tokens 100000 --latents 4608 --site layers.24

Before each batch of the index the host runs over the same batch as anyone would run it to that site, so that a machine that
is busy for a while is so for both. `speed` is the plain forward's seconds over all seconds of the index: pass, ablations,
tables. Seconds of the processor are given beside those of the clock, for machines that do other things too. Tables cost by
the latent, not by the token: `speed_at_100k_tokens` says what they come to there. The dictionary is a TopK with random
weights: what an index costs does not depend on what it learnt.
"""

from __future__ import annotations

import argparse
import json
import resource
import tempfile
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

import torch

from pellucid import Host, TextConfig, TopKConfig, load_text
from pellucid.core.logging import to_stderr
from pellucid.dictionaries import make_dictionary, save_dictionary
from pellucid.features.index import IndexConfig, build_index
from pellucid.features.index.survey import Survey
from pellucid.hosts import Site

FULL = 100_000
CLOCKS = {"wall": time.perf_counter, "cpu": time.process_time}


def main() -> None:
    """Measure and print one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tokens", type=int, default=FULL)
    parser.add_argument("--latents", type=int, default=4608)
    parser.add_argument("--k", type=int, default=32)
    parser.add_argument("--site", default="layers.24")
    parser.add_argument("--host", default="smollm2")
    parser.add_argument("--effect-share", type=float, default=IndexConfig().effect_share)
    options = parser.parse_args()
    to_stderr()
    host = Host.load(options.host)
    data = load_text(TextConfig(exclude_first=4), host.tokenizer)
    site = host.site(options.site)
    config = IndexConfig(part="all", tokens=options.tokens, effect_share=options.effect_share)
    with tempfile.TemporaryDirectory() as folder:
        save_random(
            Path(folder), host, site, TopKConfig(n_latents=options.latents, k=options.k), data.held_out_rows(torch.arange(4))
        )
        report = measure(Path(folder), host, data, site, config)
    print(json.dumps({**vars(options), "threads": torch.get_num_threads(), **report}, indent=2))


def save_random(run: Path, host: Host, site: Site, architecture: TopKConfig, batch: Any) -> None:
    """Save a dictionary with starting weights into a run folder."""
    sample = host.run(batch.inputs, capture=[site], stop=True).values[site].flatten(0, -2)
    dictionary = make_dictionary(architecture, sample.shape[-1], torch.Generator().manual_seed(0), sample)
    header = {"name": "topk", "site": str(site), "objective": {"kind": "local"}, "tokens": 0}
    record = {"name": host.name, "weights_sha256": host.weights_digest(site)}
    save_dictionary(run / "dictionaries" / "topk", dictionary, {**header, "host": record})


def measure(run: Path, host: Host, data: Any, site: Site, config: IndexConfig) -> dict[str, Any]:
    """Index a run, with a plain forward before each batch; return seconds and ratios."""
    spent: dict[tuple[str, str], float] = defaultdict(float)
    update = Survey._update

    def timed(part: str, function: Any) -> Any:
        begun = {name: clock() for name, clock in CLOCKS.items()}
        result = function()
        for name, clock in CLOCKS.items():
            spent[part, name] += clock() - begun[name]
        return result

    def both(survey: Survey, start: int, batch: Any, head: Any, *, ablate: bool) -> int:
        with torch.no_grad():
            timed("plain", lambda: host.run(batch.inputs, capture=[site], stop=True))
        return timed("ablations" if ablate else "pass", lambda: update(survey, start, batch, head, ablate=ablate))

    Survey._update = both  # type: ignore[method-assign]
    try:
        index = timed("all", lambda: build_index(run, host, data, config))
    finally:
        Survey._update = update  # type: ignore[method-assign]
    tokens = index.manifest["rows"] * index.manifest["context"]
    report: dict[str, Any] = {"tokens_indexed": tokens}
    for clock in CLOCKS:
        plain, batches = spent["plain", clock], spent["pass", clock] + spent["ablations", clock]
        total = spent["all", clock] - plain
        once = total - batches
        report[clock] = {
            "plain_s": plain,
            "pass_s": spent["pass", clock],
            "batches_with_ablations_s": spent["ablations", clock],
            "rest_s": once,
            "plain_tokens_per_s": tokens / plain,
            "speed": plain / total,
            "speed_at_100k_tokens": plain / (batches + once * tokens / max(tokens, FULL)),
        }
    report["peak_memory_mb"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000
    return report


if __name__ == "__main__":
    main()
