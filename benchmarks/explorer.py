"""How long the explorer takes to answer, over a socket, at 100,000 and at a million latents.

    python benchmarks/explorer.py [--latents 100000] [--many 1000000] [--repeats 7] [--json FILE]

The runs are made of planted numbers (`tests/web/synthetic.py`): two dictionaries of `--latents` with weights, so that they can
be compared, and one of `--many`. `pellucid explore` is started on each; every kind of page is asked for `--repeats` times, each
time with other words, bounds, pages or latents, so that no list is answered from the one kept before. Milliseconds of the
clock from the request to the last byte: `first` (right after the start), `median`, `worst` (without the first); `cpu` is
processor time of the server for one answer, for machines that do other things too. `ready_s`: seconds from the start of the
process until it listens, until it has read all texts, and until two dictionaries are matched. Answers of the host network are
not measured here: they take what the network takes.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlencode
from urllib.request import urlopen

import torch

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from tests.web.synthetic import write_run  # noqa: E402

from pellucid import TopKConfig  # noqa: E402
from pellucid.core.provenance import environment  # noqa: E402
from pellucid.dictionaries import make_dictionary, save_dictionary  # noqa: E402

NAMES = ("local", "e2e")
WIDTH = 32
SORTS = ("max", "firing_rate", "mean", "effect_kl", "effect_ce", "logit", "twin", "detection", "fuzzing")
PAGE_LIMIT, LIST_LIMIT = 300.0, 200.0
"""Milliseconds wished for: of any page at 100,000 latents, of a list at a million."""
TICKS = os.sysconf("SC_CLK_TCK")


def main() -> None:
    """Measure and print one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--latents", type=int, default=100_000)
    parser.add_argument("--many", type=int, default=1_000_000)
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--folder", type=Path, help="where the runs are made, and kept for another time")
    parser.add_argument("--json", type=Path, help="file to write the result to, with a table of it in Markdown beside it")
    options = parser.parse_args()
    with contextlib.ExitStack() as stack:
        folder = options.folder or Path(stack.enter_context(tempfile.TemporaryDirectory()))
        small, large = make_small(folder / "small", options.latents), make_large(folder / "large", options.many)
        pages = measure(small, page_kinds(options.latents), options.repeats, compare=True)
        lists = measure(large, list_kinds("local", options.many), options.repeats)
    record = environment()
    record["command"] = "python benchmarks/explorer.py " + " ".join(
        f"--{key} {getattr(options, key)}" for key in ("latents", "many", "repeats")
    )
    record |= {"cores": os.cpu_count(), "load_average": round(os.getloadavg()[0], 1)}
    record |= {"pages": {"latents": options.latents, "limit_ms": PAGE_LIMIT, **pages}}
    record |= {"lists": {"latents": options.many, "limit_ms": LIST_LIMIT, **lists}}
    text = json.dumps(record, indent=2)
    if options.json:
        options.json.write_text(text + "\n")
        options.json.with_suffix(".md").write_text(as_markdown(record))
    print(text)


def make_small(run: Path, n_latents: int) -> Path:
    """Two dictionaries with weights, eleven quantiles of two examples a latent."""
    if run.exists():
        return run
    generator, hashes = torch.Generator().manual_seed(0), {}
    for name in NAMES:
        dictionary = make_dictionary(TopKConfig(n_latents=n_latents, k=8, bias_init="zeros"), WIDTH, generator)
        header: dict[str, Any] = {"name": name, "site": "layers.1", "objective": {"kind": "local"}, "tokens": 0}
        header["host"] = {"name": "none", "weights_sha256": "0" * 64}
        save_dictionary(run / "dictionaries" / name, dictionary, header)
        hashes[name] = json.loads((run / "dictionaries" / name / "config.json").read_text())["weights_sha256"]
    return write_run(run, NAMES, n_latents, window=32, hashes=hashes)


def make_large(run: Path, n_latents: int) -> Path:
    """One dictionary, two quantiles of three examples a latent, 0.3 of the latents explained."""
    if run.exists():
        return run
    return write_run(run, NAMES[:1], n_latents, window=24, per_quantile=3, quantiles=(0, 10), explained=0.3)


def list_kinds(name: str, n_latents: int) -> dict[str, Callable[[int], str]]:
    """Addresses of lists by kind, for each repeat another."""

    def of(**asked: Any) -> str:
        return f"/features/{name}?{urlencode(asked)}"

    return {
        "list": lambda i: of(page=1 + i),
        "list, any page": lambda i: of(page=1 + (7919 * (i + 1)) % (n_latents // 25)),
        "list, sorted": lambda i: of(sort="-"[: i % 2] + SORTS[i % len(SORTS)], page=1 + 101 * i),
        "list, filtered": lambda i: of(sort="-max", f=f"max:{2 + i / 10}:{20 + i / 10}"),
        "list, filtered by three": lambda i: (
            of(sort="effect_kl", f=f"max:{2 + i / 10}:") + f"&f=firing_rate::{0.1 - i / 1000}&f=mean:1:"
        ),
        "search in explanations": lambda i: of(q=f"rule {i + 1}", **{"in": "explanations"}),
        "search in examples": lambda i: of(q=f"w{100 + i}", **{"in": "examples"}),
        "search in peaks": lambda i: of(q=("self", "def", "os", "path", "list", "file", "name")[i % 7], **{"in": "peaks"}),
        "search everywhere, sorted": lambda i: of(q=f"w{200 + i} w", sort="-effect_kl"),
        "search, one letter": lambda i: of(q="etaoinshr"[i % 9], sort="-max"),
    }


def page_kinds(n_latents: int) -> dict[str, Callable[[int], str]]:
    """Addresses of all pages by kind."""

    def compare(**asked: Any) -> str:
        return "/compare?" + urlencode({"a": "local", "b": "e2e", **asked})

    return {
        "overview": lambda i: "/",
        "feature": lambda i: f"/feature/local/{(7919 * (i + 1)) % n_latents}",
        "feature, of a list": lambda i: f"/feature/e2e/{i}?sort=latent&at={i + 1}",
        "compare": lambda i: compare(least=0.5 + i / 100),
        "compare, in both": lambda i: compare(show="matched", least=0.5 + i / 100, page=2),
        "compare, sorted": lambda i: compare(sort=SORTS[i % 5], page=3 + i),
        "try it": lambda i: f"/try?dictionary=local&text=word+{i}",
        "style sheet": lambda i: "/static/explorer.css",
        **list_kinds("local", n_latents),
    }


@contextlib.contextmanager
def server(run: Path) -> Iterator[tuple[str, int]]:
    """Start `pellucid explore`; yields its address and process id."""
    command = [sys.executable, "-m", "pellucid", "explore", str(run), "--no-open"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True) as process:
        assert process.stderr is not None
        try:
            said = ""
            for line in process.stderr:
                said += line
                if found := re.search(r"http://[\d.]+:\d+", line):
                    yield found[0], process.pid
                    break
            else:
                raise RuntimeError(f"the explorer did not start: {said}")
        finally:
            process.terminate()


def measure(run: Path, kinds: dict[str, Callable[[int], str]], repeats: int, compare: bool = False) -> dict[str, Any]:
    """Ask for every kind of page; return milliseconds by kind."""
    begun, ready = time.perf_counter(), {}
    with server(run) as (address, pid):
        ready["listens"] = round(time.perf_counter() - begun, 2)
        first = {kind: ask(address + link(repeats)) for kind, link in kinds.items() if "examples" not in kind}
        ask(address + "/features/local?q=w1&in=examples")
        ready["texts_read"] = round(time.perf_counter() - begun, 2)
        while compare and json.loads(urlopen(f"{address}/api/matching?a=local&b=e2e").read())["done"] < 1:
            time.sleep(0.2)
        if compare:
            ready["matched"] = round(time.perf_counter() - begun, 2)
        rows = {}
        for kind, link in kinds.items():
            spent = cpu(pid)
            times = [ask(address + link(i)) for i in range(repeats)]
            rows[kind] = {
                "first": round(first[kind], 1) if kind in first else None,
                "median": round(statistics.median(times), 1),
                "worst": round(max(times), 1),
                "cpu": round(1000 * (cpu(pid) - spent) / repeats, 1),
            }
        memory = max(map(int, re.findall(r"VmHWM:\s+(\d+)", Path(f"/proc/{pid}/status").read_text()))) / 1000
    return {"ready_s": ready, "peak_memory_mb": round(memory), "ms": rows}


def as_markdown(record: dict[str, Any]) -> str:
    """Return the result as a page."""
    versions = ", ".join(f"{name} {record['versions'][name]}" for name in ("python", "pellucid", "numpy"))
    out = [
        "# How long the explorer takes to answer",
        "",
        f"`{record['command']}`, {record['date']}, {record['platform']}, {versions}.",
        f"{record['cores']} cores, shared with others: load average {record['load_average']} at the end. What the columns are",
        "is said at the head of `benchmarks/explorer.py`; all but the seconds in milliseconds.",
        "",
    ]
    for part, words in (("pages", "Every page"), ("lists", "Lists")):
        found = record[part]
        out += [f"## {words} at {found['latents']:,} latents; wished for: under {found['limit_ms']:g} ms", ""]
        ready = ", ".join(f"{what.replace('_', ' ')} after {seconds:g} s" for what, seconds in found["ready_s"].items())
        out += [f"Server: {ready}; peak memory {found['peak_memory_mb']:,} MB.", ""]
        out += ["| page | first | median | worst | cpu |", "| --- | --- | --- | --- | --- |"]
        for kind, row in found["ms"].items():
            cells = ["" if row[key] is None else f"{row[key]:g}" for key in ("first", "median", "worst", "cpu")]
            out.append(f"| {kind} | {' | '.join(cells)} |")
        out.append("")
    return "\n".join(out)


def ask(url: str) -> float:
    """Return the milliseconds until the whole answer is there."""
    begun = time.perf_counter()
    with urlopen(url) as answer:
        answer.read()
    return 1000 * (time.perf_counter() - begun)


def cpu(pid: int) -> float:
    """Return the processor seconds a process has used (Linux)."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


if __name__ == "__main__":
    main()
